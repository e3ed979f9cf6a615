"""What one account has in all shards together, as far as it was heard. Values in, values out: no clock, no I/O."""

from collections.abc import Iterable, Sequence

from openbourse.contracts import v1


class _Part:
    """In one shard, when it was at `seq`; None: nothing whole was heard yet."""

    __slots__ = ("by_asset", "seq")

    def __init__(self) -> None:
        self.seq: int | None = None
        self.by_asset: dict[str, v1.Balance] = {}


class Holdings:
    """Each shard's balances come whole once, as an answer, and then as they change."""

    def __init__(self, account: int, shards: Sequence[str]) -> None:
        self._account = account
        self._parts = {shard: _Part() for shard in shards}
        # Changed while the sums were not known.
        self.untold: dict[str, None] = {}

    @property
    def unheard(self) -> list[str]:
        """The shards that have to be asked before there are sums."""
        return [shard for shard, part in self._parts.items() if part.seq is None]

    def answered(self, shard: str, seq: int, balances: Iterable[v1.Balance]) -> None:
        """All that the account has there."""
        part = self._parts[shard]
        part.seq, part.by_asset = seq, {balance.asset: balance for balance in balances}

    def changed(self, shard: str, seq: int, balances: Iterable[v1.Balance]) -> list[v1.Balance]:
        """The sums of the assets that an update names; empty while a shard has to be asked.

        An update that an answer told already changes nothing.
        """
        part = self._parts[shard]
        named = {balance.asset: balance for balance in balances}
        if part.seq is not None and seq > part.seq:
            part.seq = seq
            part.by_asset |= named
        if self.unheard:
            self.untold |= dict.fromkeys(named)
            return []
        return self._sums(named)

    def take_untold(self) -> list[v1.Balance]:
        """The sums that could not be told before."""
        if self.unheard:
            return []
        untold, self.untold = self.untold, {}
        return self._sums(untold)

    def _sums(self, assets: Iterable[str]) -> list[v1.Balance]:
        return [self._sum(asset) for asset in assets]

    def _sum(self, asset: str) -> v1.Balance:
        found = [part.by_asset[asset] for part in self._parts.values() if asset in part.by_asset]
        return v1.Balance(
            account=self._account,
            asset=asset,
            available=sum(balance.available for balance in found),
            hold=sum(balance.hold for balance in found),
        )
