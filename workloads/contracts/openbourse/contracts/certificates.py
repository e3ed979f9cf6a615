"""Makes an exchange's own certificate authority and the certificates of its components. Bytes out, no files."""

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from openbourse.contracts.component import Component
from openbourse.contracts.roles import Role
from openbourse.contracts.tls import SCHEME

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 90
_AUTHORITY = " OpenBourse authority"
# Clocks of two machines differ; a certificate made now must be valid on the other one.
_SKEW = datetime.timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Issued:
    """PEM of a certificate and its private key."""

    certificate: bytes
    key: bytes

    def files(self, authority: "Issued") -> dict[str, bytes]:
        """As a folder, or a Secret, that `openbourse.contracts.tls` reads."""
        return {"ca.crt": authority.certificate, "tls.crt": self.certificate, "tls.key": self.key}


def make_authority(exchange: str, now: datetime.datetime) -> Issued:
    """An authority for one exchange: it signs its components and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"{exchange}{_AUTHORITY}")
    certificate = (
        _builder(name, name, key.public_key(), now, datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Issued(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def exchange_of(authority: Issued) -> str:
    """Which exchange's it is. Raises ValueError for what is no authority of one."""
    subject = x509.load_pem_x509_certificate(authority.certificate).subject
    name = str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value) if len(subject) else ""
    if not name.endswith(_AUTHORITY):
        raise ValueError(f"a certificate of {name!r} and of no exchange's authority")
    return name.removesuffix(_AUTHORITY)


def issue(
    authority: Issued,
    exchange: str,
    component: Component,
    hosts: Iterable[str],
    now: datetime.datetime,
    *,
    person: str | None = None,
    role: Role | None = None,
    days: int = CERTIFICATE_DAYS,
) -> Issued:
    """A certificate that names `component` and is good for `hosts` (DNS names or addresses), as server and client.

    `person`: whose it is, where what somebody did has to be told from what another did; `role`: what they may do.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = certify(
        *(authority, exchange, component, hosts),
        key=key.public_key(),
        now=now,
        life=datetime.timedelta(days=days),
        person=person,
        role=role,
    )
    return Issued(certificate, _pem(key))


def certify(
    authority: Issued,
    exchange: str,
    component: Component,
    hosts: Iterable[str],
    *,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    life: datetime.timedelta,
    person: str | None = None,
    role: Role | None = None,
) -> bytes:
    """As `issue`, for a key that stays with whoever made it: PEM of the certificate."""
    signer = x509.load_pem_x509_certificate(authority.certificate)
    signer_key = serialization.load_pem_private_key(authority.key, password=None)
    assert isinstance(signer_key, ec.EllipticCurvePrivateKey)
    with_role = "" if role is None else f"?role={role}"
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"{SCHEME}://{exchange}/{component}{with_role}")]
    names += [_host(host) for host in hosts]
    certificate = (
        _builder(_name(person or component), signer.subject, key, now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), critical=False)
        .sign(signer_key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    life: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
