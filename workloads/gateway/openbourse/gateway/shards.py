"""All shards of the exchange as one: what is listed, which shard a symbol is in, and what is asked of all of them.

A shard that is away takes its own symbols with it and no others: calls that need it say that they do, and name it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from openbourse.contracts import v1
from openbourse.gateway import errors, refusals
from openbourse.gateway.engines import FRESH_S, REFRESH_EVERY_S, Engine
from openbourse.gateway.errors import Invalid, Refused, Unavailable
from openbourse.gateway.following import Answered, Following
from openbourse.gateway.ledger import Ledger
from openbourse.gateway.marketdata import MarketData
from openbourse.gateway.markets import Market, Markets
from openbourse.gateway.parameters import SYMBOL, Parameters
from openbourse.gateway.routes import Routes, standings

log = logging.getLogger(__name__)

# A symbol that moves on while it is asked about is asked about again.
ASKED_MOST = 5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard: who is asked for what."""

    engine: Engine
    ledger: Ledger
    marketdata: MarketData

    @property
    def name(self) -> str:
        return self.engine.shard


class Shards:
    """`run` must be running for anything to be answered."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = {shard.name: shard for shard in shards}
        self._routes = Routes()
        # What each shard said, and together.
        self._listed: dict[str, Markets] = {}
        self._markets: Markets | None = None
        # Symbol -> the engines that its commands go to.
        self._homes: dict[str, Engine] = {}
        self._following = Following(self.engine_of, self._look)
        for shard in shards:
            shard.engine.heard = self._heard

    def __iter__(self) -> Iterator[Shard]:
        return iter(self._shards.values())

    def __getitem__(self, name: str) -> Shard:
        return self._shards[name]

    def __len__(self) -> int:
        return len(self._shards)

    @property
    def engines(self) -> list[Engine]:
        return [shard.engine for shard in self._shards.values()]

    @property
    def waiting_for_symbols(self) -> int:
        """Commands whose symbol is between two shards."""
        return len(self._following)

    async def run(self) -> None:
        """Keeps the connections and the listings, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._following.run())
            for engine in self.engines:
                tasks.create_task(engine.run())

    async def close(self) -> None:
        """Ends what is asked of ledgers and market data."""
        for shard in self:
            await shard.ledger.close()
            await shard.marketdata.close()

    # What is listed.

    def _heard(self, answer: v1.Answer) -> None:
        """Raises Unavailable for listings that do not go with those of the other shards."""
        listed = Markets.of(answer.listings, answer.shard)
        self._routes.heard(answer.shard, answer.seq, standings(answer.listings))
        try:
            markets = Markets.together({**self._listed, answer.shard: listed}.values(), self._routes.home)
        except ValueError as error:
            raise Unavailable(errors.DISCONNECTED, detail=str(error)) from error
        self._listed[answer.shard] = listed
        self._markets = markets
        homes = {symbol: self._shards.get(self._routes.home(symbol) or "") for symbol in markets.by_symbol}
        self._homes = {symbol: shard.engine for symbol, shard in homes.items() if shard is not None}

    async def markets(self, *, fresh: bool = False) -> Markets:
        """What is listed; `fresh`: with states not older than FRESH_S, and without trading in shards that are away.

        Raises Unavailable where no shard can say it.
        """
        if self._markets is None or (fresh and self._old()):
            await self._refresh(self._old())
        assert self._markets is not None
        return self._markets.without({engine.shard for engine in self._old()}) if fresh else self._markets

    async def newest_markets(self) -> Markets:
        """What is listed now, without trading in shards that cannot say it. Raises Unavailable where none can."""
        outcomes = dict(zip(self._shards, await _outcomes(self.engines, Engine.refresh), strict=True))
        failed = {shard: outcome for shard, outcome in outcomes.items() if isinstance(outcome, Unavailable)}
        if len(failed) == len(self._shards):
            raise next(iter(failed.values()))
        return (await self.markets()).without(failed.keys())

    def _old(self) -> list[Engine]:
        return [engine for engine in self.engines if engine.listings_age_s > FRESH_S]

    async def _refresh(self, engines: list[Engine]) -> None:
        """As far as they are connected; where no shard's listings are good, they are waited for. Raises Unavailable."""
        if len(engines) < len(self._shards):
            engines = [engine for engine in engines if engine.is_connected]
        failed = [error for error in await _outcomes(engines, Engine.refresh) if isinstance(error, Unavailable)]
        if len(failed) == len(self._shards):
            raise failed[0]

    async def market(self, symbol: str) -> Market:
        """Raises Invalid for a symbol that is not listed, and Unavailable."""
        markets = await self.markets()
        if symbol not in markets.by_symbol:
            # Perhaps it was listed just now. Not asked more often than this, whatever nonsense is sent.
            await self._refresh([each for each in self.engines if each.listings_age_s > REFRESH_EVERY_S / 4])
            markets = await self.markets()
            unheard = [engine.shard for engine in self.engines if not engine.listed.is_set()]
            if unheard and symbol not in markets.by_symbol:
                detail = f"it may be in shard {', '.join(unheard)}, of which nothing was heard yet"
                raise Unavailable(errors.DISCONNECTED, detail=detail)
        return markets.market(symbol)

    async def named_market(self, sent: Parameters) -> Market:
        """The one that a request's `symbol` names. Raises Invalid and Unavailable."""
        return await self.market(sent.mandatory("symbol", SYMBOL))

    def known_market(self, symbol: str) -> Market | None:
        """Of those that were listed when it was last asked, without asking."""
        return None if self._markets is None else self._markets.by_symbol.get(symbol)

    # Where a symbol is.

    def engine_of(self, symbol: str) -> Engine:
        """Where its commands go. Raises Invalid for a symbol that is nowhere, and Unavailable."""
        engine = self._homes.get(symbol)
        return self.shard_of(symbol).engine if engine is None else engine

    def known_shard(self, symbol: str) -> Shard | None:
        """Where it is, of a symbol that is listed, and in a shard that this gateway serves."""
        engine = self._homes.get(symbol)
        return None if engine is None else self._shards[engine.shard]

    def shard_of(self, symbol: str) -> Shard:
        """The same."""
        home = self._routes.home(symbol)
        if home is None:
            raise Invalid(errors.BAD_SYMBOL)
        shard = self._shards.get(home)
        if shard is None:
            raise Unavailable(errors.BUSY, detail=f"{symbol} is in shard {home}, which this gateway does not serve yet")
        return shard

    def shards_of(self, symbol: str) -> list[Shard]:
        """Where it is, and then those where it was before, the newest first: what ended there is remembered there."""
        return [self.shard_of(symbol), *(self._shards[name] for name in self._routes.before(symbol))]

    async def _look(self, symbol: str) -> bool:
        """Asks the shards that have to do with a symbol where it is; False while it takes no commands anywhere."""
        concerned = {self._routes.home(symbol), *self._routes.before(symbol), self._routes.moving_to(symbol)}
        engines = [engine for engine in self.engines if engine.shard in concerned and engine.is_connected]
        for outcome in await _outcomes(engines, Engine.refresh):
            if isinstance(outcome, Unavailable):
                log.warning("where %s is: %s", symbol, outcome.detail or outcome)
        return not self._routes.moving_to(symbol)

    # Commands and questions about one symbol.

    def submit(self, symbol: str, command_id: bytes, body: bytes, answered: Answered) -> None:
        """A v1.Command's bytes, about this symbol alone. Raises Refused, and then `answered` is not called."""
        self._following.submit(symbol, command_id, body, answered)

    async def command(self, symbol: str, command: v1.Command) -> v1.Reply:
        """The one answer, which may be a rejection. Raises Refused."""
        answer: asyncio.Future[v1.Reply] = asyncio.get_running_loop().create_future()

        def answered(outcome: v1.Reply | Refused) -> None:
            # Whoever waited may have been cancelled.
            if answer.done():
                return
            if isinstance(outcome, Refused):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)

        self.submit(symbol, command.command_id, command.SerializeToString(), answered)
        return await answer

    async def query(self, symbol: str, query: v1.Query) -> v1.Answer:
        """The answer, which may be `refused`, of a shard that the symbol was in when it answered. Raises Refused."""
        if len(self._shards) == 1:
            return await self.engine_of(symbol).query(query)
        for _ in range(ASKED_MOST):
            engine = self.engine_of(symbol)
            # Answered after the other, with SYMBOL_MOVED where it has left: then the other's answer is without it.
            still_here = v1.Query(depth=v1.DepthQuery(symbol=symbol, limit=1))
            answer, depth = await asyncio.gather(engine.query(query), engine.query(still_here))
            if depth.refused.reason != v1.RejectReason.REJECT_REASON_SYMBOL_MOVED:
                return answer
            await self._look(symbol)
        raise Unavailable(errors.BUSY, detail=f"{symbol} moves between shards")

    async def ask(self, symbol: str, query: v1.Query) -> v1.Answer:
        """The same. Raises Refused also where the shard refused."""
        answer = await self.query(symbol, query)
        if answer.HasField("refused"):
            raise refusals.of_query(answer.refused)
        return answer

    async def order(self, query: v1.OrderQuery) -> v1.Answer:
        """With the order, or `refused`: of where the symbol is, or was when the order ended. Raises Refused."""
        answer = await self.query(query.symbol, v1.Query(order=query))
        if answer.refused.reason != v1.RejectReason.REJECT_REASON_UNKNOWN_ORDER:
            return answer
        for shard in self.shards_of(query.symbol)[1:]:
            earlier = await shard.engine.query(v1.Query(order=query))
            if earlier.HasField("orders"):
                return earlier
        return answer

    # Of all shards.

    async def each(self, ask: Callable[[Engine], Awaitable[T]]) -> list[T]:
        """What every shard answers, all asked at once. Raises what one of them raised, when all have answered."""
        answers: list[T] = []
        for outcome in await _outcomes(self.engines, ask):
            if isinstance(outcome, BaseException):
                raise outcome
            answers.append(outcome)
        return answers

    async def balances(self, account: int) -> dict[str, v1.Balance]:
        """By asset, the sums over all shards. Raises Refused."""
        query = v1.AccountQuery(account=account)
        sums: dict[str, v1.Balance] = {}
        for answer in await self.each(lambda engine: engine.ask(v1.Query(account=query))):
            for balance in answer.balances.balances:
                total = sums.setdefault(balance.asset, v1.Balance(account=account, asset=balance.asset))
                total.available += balance.available
                total.hold += balance.hold
        return sums

    async def open_orders(self, account: int) -> list[v1.Order]:
        """Of all symbols, by symbol and then order id. Raises Refused.

        Those of a symbol that moves meanwhile may be in both answers, or in none: so it is asked until none moved.
        """
        query = v1.OpenOrdersQuery(account=account)
        for _ in range(ASKED_MOST):
            before = dict(self._homes)
            answers = await self.each(lambda engine: engine.ask(v1.Query(open_orders=query)))
            if len(self._shards) > 1:
                await self.each(Engine.refresh)
            if all(self._homes.get(symbol) is engine for symbol, engine in before.items()):
                # A shard that the symbol is about to leave has its orders until all is done.
                found = (
                    order
                    for engine, answer in zip(self.engines, answers, strict=True)
                    for order in answer.orders.orders
                    if self._homes.get(order.symbol) is engine
                )
                return sorted(found, key=lambda order: (order.symbol, order.order_id))
        raise Unavailable(errors.BUSY, detail="symbols move between shards")


async def _outcomes(engines: Iterable[Engine], ask: Callable[[Engine], Awaitable[T]]) -> list[T | BaseException]:
    """All asked at once. Raises what is no Refused."""
    outcomes = await asyncio.gather(*(ask(engine) for engine in engines), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, Refused):
            raise outcome
    return outcomes
