"""The keys of files as a running gateway has them: who holds which, from where and until when it is good.

`run` reads a file again when it changes, in a thread and a little at a time, so that requests do not wait for it, nor
for an HSM, nor one file for another. A file that became invalid, or went away, changes nothing, nor does one whose
token is away: it is logged, and `/status` says so.
"""

import asyncio
import bisect
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openbourse.contracts import durable
from openbourse.contracts.api_key_bounds import PERMISSIONS
from openbourse.contracts.api_keys import API_KEY, moment
from openbourse.contracts.blocking import Blocking
from openbourse.contracts.documents import digest
from openbourse.contracts.hsm import TokenAway, TokenRefused
from openbourse.contracts.networks import Network, network
from openbourse.gateway import errors
from openbourse.gateway.addresses import is_within
from openbourse.gateway.errors import Invalid
from openbourse.gateway.key_text import Key, KeyFileInvalid, KeyText, key_of
from openbourse.gateway.keys import Cipher, Vault, at, cipher_of
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
    """Of one file: by the text of the key in it, which tells whether it changed, and by api_key."""

    by_text: Mapping[bytes, Holder]
    by_api_key: Mapping[str, Holder]
    # Of those that expire, in order.
    expiries_us: Sequence[int]
    # Of what was read.
    digest: str


_NONE = _Keys({}, {}, (), "")


@dataclass(slots=True)
class _File:
    """`public`: it has public keys alone and is never sealed. `trouble`: why it is not what is in use; empty: it is."""

    path: Path
    vault: Vault | None
    public: bool
    reading: Blocking
    stamp: tuple[int, int, int] = (0, 0, 0)
    keys: _Keys = _NONE
    trouble: str = ""

    @classmethod
    def opened(cls, path: Path, vault: Vault | None, *, public: bool) -> "_File":
        """Raises OSError, KeyFileInvalid and TokenError."""
        file = cls(path, vault, public, _reading(path), durable.stamp(path))
        file.keys = file.read(rest_s=0)
        return file

    def read(self, *, rest_s: float) -> _Keys:
        """Keys whose text is known are taken as they are. Raises OSError, KeyFileInvalid and TokenError."""
        by_text: dict[bytes, Holder] = {}
        by_api_key: dict[str, Holder] = {}
        content = self.path.read_bytes()
        with at(self.path):
            text = KeyText.parse(content)
            if self.public and text.seal is not None:
                raise KeyFileInvalid("it is sealed, and a --keys before the last one names a file that is not")
            cipher = None if self.public else cipher_of(text, self.vault)
        began_s = time.monotonic()
        for number, line in enumerate(text.keys):
            with at(self.path):
                holder = self.keys.by_text.get(line) or _holder(line, number, cipher, public=self.public)
            if holder.api_key in by_api_key:
                raise KeyFileInvalid(f"{self.path}: keys.{number}: its api_key is there twice")
            by_text[line] = by_api_key[holder.api_key] = holder
            if rest_s and time.monotonic() - began_s > READ_S:
                time.sleep(rest_s)
                began_s = time.monotonic()
        expiries_us = sorted(each.expires_us for each in by_text.values() if each.expires_us)
        return _Keys(by_text, by_api_key, expiries_us, digest(content))

    async def has_changed(self) -> bool:
        """Takes up what has."""
        stamp = self.stamp
        try:
            stamp = await self.reading.call(lambda: durable.stamp(self.path))
            if stamp == self.stamp:
                return False
            self.keys = await self.reading.call(lambda: self.read(rest_s=REST_S))
        except (KeyFileInvalid, TokenRefused) as error:
            # Again it would be the same, and lock the token.
            self.stamp = stamp
            self._say(str(error))
        except OSError as error:
            self._say(str(error))
        except TokenAway as error:
            self._say(str(error))
            await asyncio.sleep(TOKEN_AGAIN_S)
        else:
            self.stamp = stamp
            self.trouble = ""
            log.info("%d keys read from %s", len(self.keys.by_api_key), self.path)
            return True
        return False

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.error("keys are as they were, the file could not be read again: %s", trouble)
        self.trouble = trouble


class KeyRing:
    """`run` must be running for a change of a file to be seen."""

    def __init__(self, path: Path, vault: Vault | None = None, public: Sequence[Path] = ()) -> None:
        """Reads the files. Those of `public` have public keys alone, and are not sealed where there is a vault: whoever
        writes them is trusted with who holds what. A key that `path` has is the one that counts, and else that of the
        first file.

        Raises OSError, KeyFileInvalid and TokenError.
        """
        self._files = [_File.opened(path, vault, public=False)]
        self._files += [_File.opened(each, None, public=True) for each in public]
        self._by_api_key = self._merged()
        self._expired = self._count_of_expired()
        # Another one as soon as a file has been read again, or a key has expired.
        self.version = 0
        # What came that was signed with them.
        self.replays = Replays()

    @classmethod
    async def opened(cls, path: Path, vault: Vault | None, public: Sequence[Path] = ()) -> "KeyRing":
        """Read in a thread, which may hang. Raises OSError, KeyFileInvalid and TokenError."""
        return await _reading(path).call(lambda: cls(path, vault, public))

    @property
    def trouble(self) -> str:
        """Why files are not what is in use. Empty: they are."""
        return "; ".join(file.trouble for file in self._files if file.trouble)

    def digests(self) -> dict[str, str]:
        """By path, of what is in use of files that have no secret."""
        return {str(file.path): file.keys.digest for file in self._files if file.public}

    def holder(self, api_key: str, address: str, now_us: int) -> Holder:
        """Of a key that is good from this address now. Raises Invalid."""
        holder = self._by_api_key.get(api_key)
        if holder is None and not API_KEY.fullmatch(api_key):
            raise Invalid(errors.BAD_KEY_FORMAT)
        if holder is None or not holder.is_good(address, now_us):
            raise Invalid(errors.BAD_KEY)
        return holder

    def __len__(self) -> int:
        return len(self._by_api_key)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for file in self._files:
                tasks.create_task(self._watch(file))

    async def look(self) -> None:
        """Takes up what has changed, of all files."""
        for file in self._files:
            await self._look_at(file)

    async def _watch(self, file: _File) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            await self._look_at(file)

    async def _look_at(self, file: _File) -> None:
        if await file.has_changed():
            self._by_api_key = self._merged()
            self.version += 1
        if (expired := self._count_of_expired()) != self._expired:
            self._expired = expired
            self.version += 1

    def _merged(self) -> Mapping[str, Holder]:
        if len(self._files) == 1:
            return self._files[0].keys.by_api_key
        merged: dict[str, Holder] = {}
        for file in reversed(self._files):
            merged |= file.keys.by_api_key
        return merged

    def _count_of_expired(self) -> int:
        now_us = time.time_ns() // 1000
        return sum(bisect.bisect_right(file.keys.expiries_us, now_us) for file in self._files)


def _reading(path: Path) -> Blocking:
    return Blocking(f"what reads {path}", READ_TIMEOUT_S, TokenAway)


def _holder(line: bytes, number: int, cipher: Cipher | None, *, public: bool) -> Holder:
    """Raises KeyFileInvalid."""
    key = key_of(line, number)
    if public and not key.public_key:
        raise KeyFileInvalid(
            f"keys.{number}: it has no public_key: a --keys before the last one names a file of public keys alone"
        )
    if key.sealed and cipher is None:
        raise KeyFileInvalid(f"keys.{number}: it is sealed, and the file does not say under what")
    return holder_of(cipher.open(key) if cipher else key)
