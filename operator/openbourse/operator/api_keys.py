"""What gateways are told of ApiKeys, and what each of those says of itself. What was observed in, values out.

None has a secret. One that cannot be used is left out and says why, and keeps no other from it. What is over gateways
end by their own clocks, also while the operator is away.
"""

import datetime
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from openbourse.contracts.api_keys import (
    PublicApiKey,
    api_key_of,
    file_of,
    fingerprint,
    line_of,
    moment,
    moment_text,
)
from openbourse.contracts.documents import digest, first_problem
from openbourse.contracts.resources import ApiKey, ApiKeySpec
from openbourse.operator import in_use
from openbourse.operator.facts import Fact
from openbourse.operator.manifests import gateway
from openbourse.operator.observed import GatewayFacts, Observed

READY = "Ready"
# A Secret holds a mebibyte, with everything around.
BYTES_MOST = 900 * 1024


@dataclass(frozen=True, slots=True)
class _Read:
    """A key as gateways read it, and the line that says so."""

    entry: PublicApiKey
    line: bytes
    fingerprint: str


@dataclass(frozen=True, slots=True)
class _Judged:
    """What was read of a key, and why gateways are not told of it."""

    key: ApiKey
    read: _Read | None
    why_not: Fact | None = None


def document(observed: Observed) -> bytes:
    """The gateways' file."""
    return _file(_judged(observed))


def _file(judged: Iterable[_Judged]) -> bytes:
    return file_of([one.read.line for one in judged if one.read is not None and one.why_not is None])


def facts(observed: Observed) -> Iterator[tuple[ApiKey, dict[str, str], list[Fact]]]:
    """Of each key what it is called, and whether what is signed with it is taken by every gateway."""
    if not observed.api_keys:
        return
    judged = list(_judged(observed))
    waiting = in_use.why_not(observed, READY, digest(_file(judged)), _said, "API keys")
    for one in judged:
        fields = {}
        if one.read is not None:
            fields = {"apiKey": one.read.entry.api_key, "fingerprint": one.read.fingerprint}
        ready = Fact(READY, True, "InUse", "every gateway has it in use")
        yield one.key, fields, [one.why_not or waiting or ready]


def _said(said: GatewayFacts) -> tuple[str | None, str]:
    if said.keys_in_use is None:
        return None, "it is of a version that knows no ApiKeys, give the Exchange a newer spec.image"
    return said.keys_in_use.get(gateway.API_KEYS), said.keys_trouble


def _judged(observed: Observed) -> Iterator[_Judged]:
    """Of two that are called the same the older one counts, and so it does where there is no room for all."""
    secret = "" if observed.exchange is None else observed.exchange.spec.gateway.keys_secret
    given = observed.secrets[secret].api_keys if secret in observed.secrets else frozenset()
    taken: dict[str, str] = {}
    bytes_left = BYTES_MOST
    for key in sorted(observed.api_keys, key=lambda key: (key.metadata.creation_timestamp, key.metadata.name)):
        try:
            read = _read(key.spec, key.metadata.creation_timestamp)
        except ValueError as error:
            yield _Judged(key, None, _no("NotUnderstood", f"{_sentence(error)}; make another ApiKey, delete this one"))
            continue
        name = read.entry.api_key
        why_not = None
        if key.metadata.deletion_timestamp is not None:
            why_not = _no("Deleted", "it is being deleted")
        elif read.entry.expires and observed.now >= moment(read.entry.expires):
            why_not = _no("Expired", f"it ended at {read.entry.expires}: delete it, or give it another spec.expires")
        elif name in given:
            why_not = _no(
                "NameTaken",
                f"Secret {secret} has a key {name} already: revoke it there (`openbourse keys revoke`), or make "
                "another ApiKey with another spec.apiKey",
            )
        elif (other := taken.setdefault(name, key.metadata.name)) != key.metadata.name:
            why_not = _no("NameTaken", f"ApiKey {other} is older and is called {name} too: delete one of the two")
        elif (bytes_left := bytes_left - len(read.line) - len(",\n")) < 0:
            why_not = _no("NoRoom", "there are as many as gateways can be told of: delete others")
        yield _Judged(key, read, why_not)


@functools.lru_cache(maxsize=8192)
def _read(spec: ApiKeySpec, created: datetime.datetime | None) -> _Read:
    """Once for each that is there: to read a public key takes longer than all else. Raises ValueError."""
    entry = entry_of(spec, created)
    return _Read(entry, line_of(entry), fingerprint(spec.public_key))


def entry_of(spec: ApiKeySpec, created: datetime.datetime | None) -> PublicApiKey:
    """As gateways read it. Raises ValueError, which says what is wrong."""
    return PublicApiKey.model_validate(
        {
            "api_key": spec.api_key or api_key_of(spec.exchange, spec.account, spec.public_key),
            "account": spec.account,
            "label": spec.label,
            "created": "" if created is None else moment_text(created),
            "permissions": spec.permissions,
            "addresses": spec.addresses,
            "expires": "" if spec.expires is None else moment_text(spec.expires),
            "public_key": spec.public_key,
        }
    )


def _sentence(error: ValueError) -> str:
    return first_problem(error) if isinstance(error, ValidationError) else str(error)


def _no(reason: str, message: str) -> Fact:
    return Fact(READY, False, reason, message)
