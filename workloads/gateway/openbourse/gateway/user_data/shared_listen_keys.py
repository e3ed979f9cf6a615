"""Listen keys of all gateways that share a Redis: asked for at one, heard at another. Without one, this process's own.

With Redis away the keys that this gateway knows go on, and can be extended; no new ones are made, none is ended, and
one that it does not know is not heard: whoever listens to it would believe that nothing happens. A Redis that lost
everything gets them back from the gateways.
"""

from collections.abc import Iterable
from pathlib import Path

from openbourse.gateway import errors
from openbourse.gateway.errors import Invalid, Unavailable
from openbourse.gateway.redis.link import RedisAway, RedisLink, RedisRefused, Word, sha_of
from openbourse.gateway.user_data.listen_keys import LISTEN_KEY, VALID_S, ListenKeys, Valid, new_listen_key

SCRIPTS = tuple((Path(__file__).parent / f"{name}.lua").read_text() for name in ("create", "extend", "compare"))
_CREATE, _EXTEND, _COMPARE = (sha_of(script) for script in SCRIPTS)

# Of one script, and of one look: with more keys than that a change is seen in a later look.
COMPARED_AT_ONCE = 200
COMPARED_MOST = 2_000

_VALID_MS = int(VALID_S * 1000)


class SharedListenKeys:
    """`known` are those of this process; each call takes the time of a clock that never goes back."""

    def __init__(self, link: RedisLink | None) -> None:
        self._link = link
        self.known = ListenKeys()
        # Where the last look ended.
        self._looked: int = 0

    async def create(self, account: int, api_key: str, address: str, now_s: float) -> str:
        """The account's own, valid anew. Raises Unavailable."""
        if self._link is None:
            return self.known.create(account, api_key, address, now_s)
        valid = Valid(account, api_key, address, now_s + VALID_S)
        try:
            key = await self._run(_CREATE, [_listening(account)], new_listen_key(), _said(valid), _VALID_MS)
        except Unavailable:
            mine = next(iter(self.known.of(account)), None)
            if mine is None:
                raise
            self.known.extend(mine, account, now_s).unsaved = True
            return mine
        assert isinstance(key, bytes)
        self.known.keep(key.decode(), valid)
        return key.decode()

    async def extend(self, key: str, account: int, now_s: float) -> None:
        """Raises Invalid, Unavailable."""
        if self._link is None:
            self.known.extend(key, account, now_s)
            return
        try:
            await self._change(key, account, now_s, _VALID_MS)
        except Unavailable:
            if self.known.get(key) is None:
                raise
            self.known.extend(key, account, now_s).unsaved = True
        else:
            if self.known.get(key) is not None:
                self.known.extend(key, account, now_s)

    async def end(self, key: str, account: int, now_s: float) -> None:
        """Raises Invalid, Unavailable."""
        if self._link is None:
            self.known.end(key, account)
            return
        await self._change(key, account, now_s, 0)
        if self.known.get(key) is not None:
            self.known.drop(key)

    def are_known(self, streams: Iterable[str]) -> bool:
        """Whether `find` has nothing to ask."""
        return self._link is None or not self._unknown(streams)

    def _unknown(self, streams: Iterable[str]) -> list[str]:
        return [name for name in streams if LISTEN_KEY.fullmatch(name) and self.known.get(name) is None]

    async def find(self, streams: Iterable[str], now_s: float) -> None:
        """Learns of those of them that are listen keys made at another gateway. Raises Unavailable."""
        if self._link is None:
            return
        unknown = self._unknown(streams)
        if not unknown:
            return
        try:
            found = await self._link.ask("MGET", *map(_listen, unknown))
        except (RedisAway, RedisRefused) as error:
            raise _away(error) from None
        assert isinstance(found, list)
        for key, said in zip(unknown, found, strict=True):
            # Ended ones are there, and empty.
            if said:
                account, api_key, address = said.decode().split("\n")
                # The next look learns for how long.
                self.known.keep(key, Valid(int(account), api_key, address, now_s + VALID_S))

    async def look(self, now_s: float) -> list[str]:
        """Those that are not valid any more, wherever they were ended."""
        ended: list[str] = []
        if self._link is not None and self._link.is_there:
            keys = self.known.all()
            if len(keys) > COMPARED_MOST:
                self._looked %= len(keys)
                keys = (keys + keys)[self._looked : self._looked + COMPARED_MOST]
                self._looked += COMPARED_MOST
            for start in range(0, len(keys), COMPARED_AT_ONCE):
                try:
                    ended += await self._compare(keys[start : start + COMPARED_AT_ONCE], now_s)
                except Unavailable:
                    break
        return ended + self.known.take_expired(now_s)

    async def _change(self, key: str, account: int, now_s: float, valid_ms: int) -> None:
        """Raises Invalid, Unavailable."""
        for _ in range(2):
            said = await self._run(_EXTEND, [_listen(key), _listening(account)], f"{account}\n", valid_ms)
            if said:
                return
            mine = self.known.get(key)
            if mine is None or mine.account != account or await self._compare([key], now_s):
                break
        raise Invalid(errors.NO_SUCH_LISTEN_KEY)

    async def _compare(self, keys: list[str], now_s: float) -> list[str]:
        """With what Redis says of them; those that are not valid any more are dropped. Raises Unavailable."""
        known = [(key, valid) for key in keys if (valid := self.known.get(key)) is not None]
        if not known:
            return []
        words: list[Word] = []
        for _, valid in known:
            words += (_said(valid), max(0, int((valid.until_s - now_s) * 1000)), int(valid.unsaved))
        left_ms = await self._run(_COMPARE, [_listen(key) for key, _ in known], *words)
        assert isinstance(left_ms, list)
        ended: list[str] = []
        for (key, valid), left in zip(known, left_ms, strict=True):
            # It may have been ended, or asked for anew, meanwhile.
            if self.known.get(key) is not valid:
                continue
            if left == 0:
                self.known.drop(key)
                ended.append(key)
            else:
                valid.until_s, valid.unsaved = now_s + left / 1000, False
        return ended

    async def _run(self, script: str, keys: list[str], *words: Word) -> object:
        """Raises Unavailable."""
        assert self._link is not None
        try:
            return await self._link.ask("EVALSHA", script, len(keys), *keys, *words)
        except RedisRefused as error:
            self._link.give_up(f"it refuses listen keys: {error}")
            raise _away(error) from None
        except RedisAway as error:
            raise _away(error) from None


def _listen(key: str) -> str:
    return f"openbourse:listen:{key}"


def _listening(account: int) -> str:
    return f"openbourse:listening:{account}"


def _said(valid: Valid) -> str:
    return f"{valid.account}\n{valid.api_key}\n{valid.address}"


def _away(error: Exception) -> Unavailable:
    return Unavailable(errors.DISCONNECTED, detail=f"what gateways know together of listen keys is away: {error}")
