"""A trader's API key, by its public key: nothing here, nor in the object, is a secret."""

import datetime

from pydantic import ConfigDict, Field

from openbourse.contracts.api_key_bounds import (
    ADDRESSES_MOST,
    LABEL_LENGTH_MOST,
    PERMISSIONS,
    PUBLIC_KEY_LENGTH_MOST,
    Permission,
)
from openbourse.contracts.resources.meta import (
    AGE,
    READY,
    REASON,
    AddressOrNetwork,
    Column,
    CustomResource,
    Status,
    Stored,
    kind,
    rule,
    rules,
)
from openbourse.contracts.units import FIRST_TRADER

# As DER begins: of Ed25519, and of RSA from 1528 bits on; how many bits it has is seen by who reads it.
_ED25519, _RSA = "MCowBQYDK2VwAyEA", "MII[A-Za-z0-9+/]{3}ANBgkqhkiG9w0BAQEFAA"
_PEM = (
    f"^-----BEGIN PUBLIC KEY-----\\\\r?\\\\n({_ED25519}|{_RSA})[A-Za-z0-9+/=]*\\\\r?\\\\n"
    "([A-Za-z0-9+/=]+\\\\r?\\\\n)*-----END PUBLIC KEY-----[ \\\\r\\\\n]*$"
)


class ApiKeySpec(Stored):
    """Whose key it is never changes, nor which; what it may do, from where and until when does."""

    exchange: str = Field(
        min_length=1,
        max_length=20,
        json_schema_extra=rules(rule("self == oldSelf", "an ApiKey stays with its exchange")),
    )
    account: int = Field(
        ge=FIRST_TRADER,
        description="the account that it trades for",
        json_schema_extra=rules(rule("self == oldSelf", "an ApiKey stays with its account: make another one")),
    )
    public_key: str = Field(
        max_length=PUBLIC_KEY_LENGTH_MOST,
        description="of the trader, in PEM: Ed25519, or RSA of 2048 to 4096 bits. Its private key stays with them",
        json_schema_extra=rules(
            rule(
                f"self.matches('{_PEM}')",
                "must be a public key in PEM (-----BEGIN PUBLIC KEY-----), Ed25519 or RSA of 2048 to 4096 bits, as "
                "`openssl pkey -in private.pem -pubout` prints it",
            ),
            rule("self == oldSelf", "another public key is another ApiKey: make it, and then delete this one"),
        ),
    )
    api_key: str | None = Field(
        default=None,
        pattern="^[A-Za-z0-9]{16,64}$",
        description="what the key is called (X-MBX-APIKEY), which is no secret; none: made of exchange, account and "
        "publicKey, the same each time, and shown in status",
    )
    permissions: tuple[Permission, ...] = Field(
        default=PERMISSIONS,
        min_length=1,
        max_length=len(PERMISSIONS),
        description="what it may do; all of it, unless said",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    addresses: tuple[AddressOrNetwork, ...] = Field(
        default=(),
        max_length=ADDRESSES_MOST,
        description="addresses and networks that it is good from, such as 192.0.2.0/24; none: from everywhere",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    expires: datetime.datetime | None = Field(
        default=None, description="when it ends, such as 2027-01-01T00:00:00Z; none: when it is deleted"
    )
    label: str = Field(default="", max_length=LABEL_LENGTH_MOST, description="for people: what it is for")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.apiKey) == has(oldSelf.apiKey) && (!has(self.apiKey) || self.apiKey == oldSelf.apiKey)",
                "what a key is called never changes: make another ApiKey, and then delete this one",
            )
        )
    )


class ApiKeyStatus(Status):
    api_key: str | None = Field(default=None, max_length=64, description="what the key is called: X-MBX-APIKEY")
    fingerprint: str | None = Field(
        default=None, max_length=64, description="SHA-256 of the public key in DER, in hexadecimal"
    )


class ApiKey(CustomResource):
    """A trader's key by its public key, at every gateway of an exchange."""

    spec: ApiKeySpec
    status: ApiKeyStatus = Field(default_factory=ApiKeyStatus)

    resource = kind("apikeys", "ApiKey")
    short_names = ("akey",)
    columns = (
        Column(name="Exchange", type="string", json_path=".spec.exchange"),
        Column(name="Account", type="integer", json_path=".spec.account"),
        Column(name="Permissions", type="string", json_path=".spec.permissions"),
        READY,
        REASON,
        Column(name="Expires", type="string", json_path=".spec.expires"),
        Column(name="Label", type="string", json_path=".spec.label"),
        Column(name="Key", type="string", json_path=".status.apiKey"),
        AGE,
    )
