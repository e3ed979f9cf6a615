"""Keys that sign, inside a PKCS#11 token: made there, used there, and never let out. ECDSA over P-256 with SHA-256.

Every call blocks. Whoever imports this needs python-pkcs11.
"""

import hashlib

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_ecdsa_signature, encode_named_curve_parameters

from openbourse.contracts.hsm import OpenToken, TokenRefused


class SigningKey:
    """One key in an open token. `public`: a SubjectPublicKeyInfo in DER."""

    def __init__(self, token: OpenToken, private: pkcs11.Object, public: pkcs11.Object) -> None:
        # What a token can do with a key it says by mix-ins that its type does not show.
        assert isinstance(private, pkcs11.SignMixin) and isinstance(public, pkcs11.PublicKey)
        self._token = token
        self._private = private
        self.public: bytes = encode_ec_public_key(public)

    def sign(self, content: bytes) -> bytes:
        """A signature in DER. Raises TokenRefused and TokenAway."""
        try:
            signature: bytes = self._private.sign(hashlib.sha256(content).digest(), mechanism=Mechanism.ECDSA)
        except pkcs11.PKCS11Error as error:
            raise self._token.trouble(error) from error
        return encode_ecdsa_signature(signature)


def find_key(token: OpenToken, label: str) -> SigningKey | None:
    """The key of this name, if it is in the token. Raises TokenRefused and TokenAway."""
    try:
        private = token.session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
        public = token.session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=label)
    except pkcs11.NoSuchKey:
        return None
    except pkcs11.MultipleObjectsReturned:
        raise TokenRefused(f"token {token.label!r} has more than one key {label!r}") from None
    except pkcs11.PKCS11Error as error:
        raise token.trouble(error) from error
    return SigningKey(token, private, public)


def find_or_make_key(token: OpenToken, label: str) -> SigningKey:
    """A new key, or the one that is there. Raises TokenRefused and TokenAway."""
    if (found := find_key(token, label)) is not None:
        return found
    try:
        curve = token.session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
        )
        public, private = curve.generate_keypair(
            store=True, label=label, private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
        )
        is_never_let_out = private[Attribute.NEVER_EXTRACTABLE] and private[Attribute.ALWAYS_SENSITIVE]
    except pkcs11.PKCS11Error as error:
        raise token.trouble(error) from error
    if not is_never_let_out:
        raise TokenRefused(f"token {token.label!r} makes keys that can be taken out of it: use another")
    return SigningKey(token, private, public)
