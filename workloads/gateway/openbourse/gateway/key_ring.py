"""The keys of a file as a running gateway has them: who holds which, from where and until when it is good.

`run` reads the file again when it changes, in a thread and a little at a time, so that requests do not wait for it, nor
for an HSM. A file that became invalid, or went away, changes nothing, nor does one whose token is away: it is logged,
and `/status` says so.
"""

import asyncio
import bisect
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openbourse.contracts import durable
from openbourse.contracts.blocking import Blocking
from openbourse.contracts.hsm import TokenAway, TokenRefused
from openbourse.gateway import errors
from openbourse.gateway.addresses import Network, is_within, network
from openbourse.gateway.errors import Invalid
from openbourse.gateway.key_text import API_KEY, PERMISSIONS, Key, KeyFileInvalid, key_of, moment
from openbourse.gateway.keys import Cipher, Vault, at, cipher_of, read_text
from openbourse.gateway.replays import Replays
from openbourse.gateway.signatures import VerifyingKey

log = logging.getLogger(__name__)

CHECK_EVERY_S = 0.25
# The thread that reads works so long, and then lets the event loop have its turn.
READ_S = 0.001
REST_S = 0.001
READ_TIMEOUT_S = 60.0
# After it was away.
TOKEN_AGAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose key it is, what shows that it was they who signed, and what they may do with it."""

    account: int
    key: VerifyingKey
    api_key: str = ""
    permissions: frozenset[str] = frozenset(PERMISSIONS)
    # Empty: from everywhere.
    networks: tuple[Network, ...] = ()
    expires_us: int | None = None

    def __repr__(self) -> str:
        return f"Holder(account={self.account})"

    def is_good(self, address: str, now_us: int) -> bool:
        """Whether it may be used from there, now."""
        if self.expires_us is not None and now_us >= self.expires_us:
            return False
        return not self.networks or is_within(address, self.networks)


def holder_of(key: Key) -> Holder:
    expires_us = int(moment(key.expires).timestamp() * 1_000_000) if key.expires else None
    networks = tuple(network(each) for each in key.addresses)
    return Holder(key.account, key.verifying(), key.api_key, frozenset(key.permissions), networks, expires_us)


@dataclass(frozen=True, slots=True)
class _Keys:
    """By the text of the key in the file, which tells whether it changed, and by api_key."""

    by_text: Mapping[bytes, Holder]
    by_api_key: Mapping[str, Holder]
    # Of those that expire, in order.
    expiries_us: Sequence[int]


_NONE = _Keys({}, {}, ())


class KeyRing:
    """`run` must be running for a change of the file to be seen."""

    def __init__(self, path: Path, vault: Vault | None = None) -> None:
        """Reads the file. Raises OSError, KeyFileInvalid and TokenError."""
        self._path = path
        self._vault = vault
        self._reading = _reading(path)
        self._stamp = durable.stamp(path)
        self._keys = _read(path, vault, _NONE, rest_s=0)
        self._expired = _expired(self._keys)
        # Another one as soon as the file has been read again, or a key has expired.
        self.version = 0
        # What came that was signed with them.
        self.replays = Replays()
        # Why the file is not what is in use. Empty: it is.
        self.trouble = ""

    @classmethod
    async def opened(cls, path: Path, vault: Vault | None) -> "KeyRing":
        """Read in a thread, which may hang. Raises OSError, KeyFileInvalid and TokenError."""
        return await _reading(path).call(lambda: cls(path, vault))

    def holder(self, api_key: str, address: str, now_us: int) -> Holder:
        """Of a key that is good from this address now. Raises Invalid."""
        holder = self._keys.by_api_key.get(api_key)
        if holder is None and not API_KEY.fullmatch(api_key):
            raise Invalid(errors.BAD_KEY_FORMAT)
        if holder is None or not holder.is_good(address, now_us):
            raise Invalid(errors.BAD_KEY)
        return holder

    def __len__(self) -> int:
        return len(self._keys.by_api_key)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Takes up what has changed."""
        await self._look_at_file()
        if (expired := _expired(self._keys)) != self._expired:
            self._expired = expired
            self.version += 1

    async def _look_at_file(self) -> None:
        stamp = self._stamp
        try:
            stamp = await self._reading.call(lambda: durable.stamp(self._path))
            if stamp == self._stamp:
                return
            known = self._keys
            self._keys = await self._reading.call(lambda: _read(self._path, self._vault, known, rest_s=REST_S))
        except (KeyFileInvalid, TokenRefused) as error:
            # Again it would be the same, and lock the token.
            self._stamp = stamp
            self._say(str(error))
        except OSError as error:
            self._say(str(error))
        except TokenAway as error:
            self._say(str(error))
            await asyncio.sleep(TOKEN_AGAIN_S)
        else:
            self._stamp = stamp
            self.version += 1
            self.trouble = ""
            log.info("%d keys read from %s", len(self), self._path)

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.error("keys are as they were, the file could not be read again: %s", trouble)
        self.trouble = trouble


def _reading(path: Path) -> Blocking:
    return Blocking(f"what reads {path}", READ_TIMEOUT_S, TokenAway)


def _read(path: Path, vault: Vault | None, known: _Keys, *, rest_s: float) -> _Keys:
    """Keys whose text is known are taken as they are. Raises OSError, KeyFileInvalid and TokenError."""
    by_text: dict[bytes, Holder] = {}
    by_api_key: dict[str, Holder] = {}
    file = read_text(path)
    with at(path):
        cipher = cipher_of(file, vault)
    began_s = time.monotonic()
    for number, text in enumerate(file.keys):
        with at(path):
            holder = known.by_text.get(text) or _holder(text, number, cipher)
        if holder.api_key in by_api_key:
            raise KeyFileInvalid(f"{path}: keys.{number}: its api_key is there twice")
        by_text[text] = by_api_key[holder.api_key] = holder
        if rest_s and time.monotonic() - began_s > READ_S:
            time.sleep(rest_s)
            began_s = time.monotonic()
    return _Keys(by_text, by_api_key, sorted(each.expires_us for each in by_text.values() if each.expires_us))


def _holder(text: bytes, number: int, cipher: Cipher | None) -> Holder:
    key = key_of(text, number)
    return holder_of(cipher.open(key) if cipher else key)


def _expired(keys: _Keys) -> int:
    return bisect.bisect_right(keys.expiries_us, time.time_ns() // 1000)
