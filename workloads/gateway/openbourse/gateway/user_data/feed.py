"""The feed of accounts: a frame for each AccountUpdate, one for each account that a command touched, and marks."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from google.protobuf.message import DecodeError

from openbourse.contracts import v1
from openbourse.contracts.frames import Decoder
from openbourse.gateway.continuity import Gap


class AccountFeed:
    """A `feeds.Feed`: each update is published once, whichever replica told it."""

    def __init__(self, publish: Callable[[v1.AccountUpdate], Awaitable[None]], begins: Callable[[], None]) -> None:
        """`begins` is called where it begins, or begins anew."""
        self._publish = publish
        self._begins = begins
        self._seq: int | None = None
        # Seq and account of updates behind the last mark.
        self._published: set[tuple[int, int]] = set()

    @property
    def behind(self) -> Mapping[str, int]:
        return {} if self._seq is None else {"at_once": self._seq}

    def forget(self) -> None:
        self._seq = None
        self._published.clear()

    async def read(self, chunks: AsyncIterator[bytes]) -> None:
        """Raises ValueError for what is no feed, and for what cannot be told; raises Gap."""
        decoder, is_first = Decoder(), True
        async for data in chunks:
            for body in decoder.feed(data):
                try:
                    update = v1.AccountUpdate.FromString(body)
                except DecodeError as error:
                    raise ValueError("a frame that is no AccountUpdate") from error
                if not update.account:
                    self._mark(update.seq, is_first=is_first)
                    is_first = False
                elif update.seq > (self._seq or 0) and (update.seq, update.account) not in self._published:
                    await self._publish(update)
                    self._published.add((update.seq, update.account))

    def _mark(self, seq: int, *, is_first: bool) -> None:
        """Everything up to there was told."""
        if self._seq is None:
            self._begins()
        heard_seq = seq if self._seq is None else self._seq
        if is_first and seq > heard_seq:
            raise Gap(f"accounts go on behind seq {seq}, and were heard up to {heard_seq}")
        self._seq = max(seq, heard_seq)
        self._published = {told for told in self._published if told[0] > self._seq}
