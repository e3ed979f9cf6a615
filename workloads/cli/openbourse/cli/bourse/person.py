"""The person at the desk, as the API server knows them, with a certificate of the exchange that says so.

It is asked for as a CertificateSigningRequest, which the operator answers; the key never leaves this machine. It is
kept until it runs out, which is soon, for this person, this exchange and this role alone.
"""

import asyncio
import base64
import datetime
import hashlib
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from openbourse.cli.bourse.errors import NotDone
from openbourse.cli.bourse.whoami import user_name
from openbourse.contracts import durable
from openbourse.contracts.apiserver import ApiServer, Object
from openbourse.contracts.people import EXCHANGE, NAMESPACE, REQUESTS, ROLE, SIGNER, USAGES
from openbourse.contracts.resources import Exchange
from openbourse.contracts.roles import Role

LIFE_S = 3600
SIGNED_WITHIN_S = 15.0
POLL_S = 0.1
# One that runs out while it is used is none.
LEFT = datetime.timedelta(minutes=2)


async def certificate(api: ApiServer, namespace: str, exchange: str, role: Role) -> Path:
    """A folder with ca.crt, tls.crt and tls.key, good for some minutes at least. Raises NotDone and ApiError."""
    who = await user_name(api)
    known = "\n".join((api.url, namespace, exchange, role, who))
    folder = Path.home() / ".openbourse" / "people" / hashlib.sha256(known.encode()).hexdigest()[:24]
    authorities = await _authorities(api, namespace, exchange)
    if _is_good(folder, authorities):
        return folder
    key = ec.generate_private_key(ec.SECP256R1())
    made = await api.create(REQUESTS, _request(namespace, exchange, role, key))
    chain = x509.load_pem_x509_certificates(await _signed(api, made["metadata"]["name"]))
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    # The certificate last: a folder without it is asked for anew.
    (folder / "tls.crt").unlink(missing_ok=True)
    durable.write(folder / "tls.key", private, 0o600)
    durable.write(folder / "ca.crt", b"".join(one.public_bytes(pem) for one in chain[1:]), 0o600)
    durable.write(folder / "tls.crt", chain[0].public_bytes(pem), 0o600)
    return folder


async def _authorities(api: ApiServer, namespace: str, exchange: str) -> dict[str, str]:
    """By fingerprint, what each authority of the exchange is for; empty: its operator has not said."""
    found = await api.get(Exchange.resource, namespace, exchange)
    held = Exchange.model_validate(found).status.certificates if found is not None else None
    return {one.fingerprint: one.use for one in held.authorities} if held is not None else {}


def _is_good(folder: Path, authorities: dict[str, str]) -> bool:
    """There is time left, and no rotation of the authority has passed it by."""
    try:
        held = x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())
        trusted = x509.load_pem_x509_certificates((folder / "ca.crt").read_bytes())
    except (OSError, ValueError):
        return False
    if held.not_valid_after_utc - datetime.datetime.now(datetime.UTC) <= LEFT:
        return False
    known = {one.fingerprint(hashes.SHA256()).hex()[:32]: one for one in trusted}
    if not authorities:
        return True
    signing = [one for fingerprint, one in known.items() if authorities.get(fingerprint) == "signing"]
    return known.keys() == authorities.keys() and len(signing) == 1 and _is_signed_by(held, signing[0])


def _is_signed_by(held: x509.Certificate, authority: x509.Certificate) -> bool:
    """Names do not tell: all authorities of an exchange have the same."""
    try:
        held.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _request(namespace: str, exchange: str, role: Role, key: ec.EllipticCurvePrivateKey) -> Object:
    # Whose it is, the API server writes beside it: the subject says nothing.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubectl bourse")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    text = base64.b64encode(csr.public_bytes(serialization.Encoding.PEM)).decode()
    annotations = {NAMESPACE: namespace, EXCHANGE: exchange, ROLE: role.value}
    return {
        "metadata": {"name": f"bourse-{exchange}-{secrets.token_hex(6)}", "annotations": annotations},
        "spec": {"signerName": SIGNER, "request": text, "usages": sorted(USAGES), "expirationSeconds": LIFE_S},
    }


async def _signed(api: ApiServer, request: str) -> bytes:
    deadline_s = asyncio.get_running_loop().time() + SIGNED_WITHIN_S
    while asyncio.get_running_loop().time() < deadline_s:
        status = (await api.call("GET", REQUESTS.path(None, request))).get("status", {})
        for condition in status.get("conditions", ()):
            if condition["type"] in {"Denied", "Failed"}:
                raise NotDone(condition.get("message", "the request for a certificate was refused"))
        if status.get("certificate"):
            return base64.b64decode(status["certificate"])
        await asyncio.sleep(POLL_S)
    raise NotDone(
        f"nobody signed CertificateSigningRequest {request} within {SIGNED_WITHIN_S:g} s: the operator does, if it "
        f"runs and its chart's signForPeople is true; --tls takes a certificate of `openbourse person issue` instead"
    )
