"""Where a Redis is, from the environment: `OPENBOURSE_REDIS`, and `OPENBOURSE_REDIS_CA` for TLS.

It may hold a password, so it is never an option of a command, and is never shown.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

VARIABLE = "OPENBOURSE_REDIS"
CA_VARIABLE = "OPENBOURSE_REDIS_CA"
FORM = "redis://[[user]:password@]host[:port][/database], or rediss://... for TLS"


class AddressInvalid(ValueError):
    """The variable is no address of a Redis. Says why, and never what stands there."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    host: str
    port: int
    database: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    # File of certificates that its own is checked against; empty: those of the system.
    ca: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def context(self) -> ssl.SSLContext | None:
        """Raises OSError for a file that is not there or holds no certificate."""
        return ssl.create_default_context(cafile=self.ca or None) if self.tls else None


def from_environment(environment: Mapping[str, str]) -> RedisAddress | None:
    """None: there is none. Raises AddressInvalid."""
    text = environment.get(VARIABLE, "")
    return _parsed(text, environment.get(CA_VARIABLE, "")) if text else None


def _parsed(text: str, ca: str) -> RedisAddress:
    try:
        parts = urlsplit(text)
        port = parts.port or 6379
    except ValueError:
        raise _invalid("it is no URL") from None
    if parts.scheme not in ("redis", "rediss"):
        raise _invalid("it begins with neither redis:// nor rediss://")
    if not parts.hostname:
        raise _invalid("it has no host")
    if parts.query or parts.fragment:
        raise _invalid("it has more than a host, a port and a database")
    database = parts.path.strip("/") or "0"
    if not (database.isdecimal() and len(database) <= 5):
        raise _invalid("its database is no number")
    if ca and parts.scheme == "redis":
        raise AddressInvalid(f"{CA_VARIABLE} is set, but {VARIABLE} begins with redis://: TLS is rediss://")
    return RedisAddress(
        parts.hostname,
        port,
        int(database),
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        parts.scheme == "rediss",
        ca,
    )


def _invalid(why: str) -> AddressInvalid:
    return AddressInvalid(f"{VARIABLE}: {why}; it is {FORM}")
