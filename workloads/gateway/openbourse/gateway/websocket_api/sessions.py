"""What a connection of the WebSocket API is logged on as and hears, and the calls about that.

A session is one connection's. Its key is looked up anew for each request: a key that was revoked ends it.
"""

import itertools
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from openbourse.gateway import errors
from openbourse.gateway.calls import Call, Endpoint, Security, check_permission
from openbourse.gateway.errors import Invalid
from openbourse.gateway.guards.guards import GRACE_MS_DEFAULT, GRACE_MS_MOST, HOLD_MS
from openbourse.gateway.guards.keeper import Keeper
from openbourse.gateway.key_ring import Holder
from openbourse.gateway.shards import Shards
from openbourse.gateway.sockets import RESTART, Peer
from openbourse.gateway.user_data.hub import Subscription, UserData

# As with Binance: at once, and over the connection's life.
SUBSCRIPTIONS_MOST = 1_000
SUBSCRIPTION_IDS_MOST = 65_535
# That one connection guards by name.
SYMBOLS_MOST = 50

_API_KEY = frozenset({"apiKey"})


@dataclass(slots=True)
class Session:
    peer: Peer
    connected_us: int
    address: str
    microseconds: bool
    return_rate_limits: bool
    holder: Holder | None = None
    authorized_us: int | None = None
    subscriptions: dict[int, Subscription] = field(default_factory=dict)
    # Made for who is logged on; ends with that.
    own_subscription: int | None = None
    next_subscription: int = 0
    # No other connection has it.
    number: int = field(default_factory=itertools.count(1).__next__)
    # The connection is gone, though requests of it may still be under way.
    closed: bool = False

    def log_off(self) -> None:
        self.holder = None
        self.authorized_us = None


class SessionCalls:
    """The handlers, for all connections. Each raises Refused for what it does not do."""

    def __init__(self, shards: Shards, user_data: UserData, guards: Keeper) -> None:
        self._shards = shards
        self._user_data = user_data
        self._guards = guards

    def endpoints(self) -> list[Endpoint]:
        logon = Endpoint(self.logon, Security.LOGON, 2, _API_KEY, name="session.logon", own_key=True)
        by_signature = Endpoint(
            self.subscribe_by_signature,
            Security.USER_STREAM,
            2,
            _API_KEY,
            name="userDataStream.subscribe.signature",
            own_key=True,
        )
        named = frozenset({"subscriptionId"})
        guarded = frozenset({"symbols", "graceTime", "enabled"})
        return [
            logon,
            Endpoint(self.status, weight=2, name="session.status"),
            Endpoint(self.logout, weight=2, name="session.logout"),
            Endpoint(self.subscriptions, weight=2, name="session.subscriptions"),
            Endpoint(self.guard, Security.TRADE, 2, guarded, name="session.cancelOnDisconnect"),
            Endpoint(self.subscribe, weight=2, name="userDataStream.subscribe"),
            by_signature,
            Endpoint(self.unsubscribe, weight=2, parameters=named, name="userDataStream.unsubscribe"),
        ]

    async def logon(self, call: Call) -> object:
        session, holder = _session(call), call.holder
        assert holder is not None
        if not isinstance(holder.key, Ed25519PublicKey):
            kind = "RSA" if isinstance(holder.key, RSAPublicKey) else "HMAC_SHA256"
            raise Invalid(errors.NOT_ED25519, kind, detail="a session is logged on with an Ed25519 key")
        session.holder, session.authorized_us = holder, call.now_us
        return self._status(call)

    async def status(self, call: Call) -> object:
        return self._status(call)

    async def logout(self, call: Call) -> object:
        session = _session(call)
        session.log_off()
        if session.own_subscription is not None:
            self._end(session, session.own_subscription, call)
        return self._status(call)

    async def subscriptions(self, call: Call) -> object:
        return [{"subscriptionId": number} for number in _session(call).subscriptions]

    async def subscribe(self, call: Call) -> object:
        session = _session(call)
        await self._user_data.come()
        if session.holder is None:
            raise Invalid(errors.BAD_KEY, detail="the session is not logged on: see session.logon")
        check_permission(session.holder, Security.USER_STREAM)
        session.own_subscription = self._begin(session, session.holder)
        return {"subscriptionId": session.own_subscription}

    async def subscribe_by_signature(self, call: Call) -> object:
        assert call.holder is not None
        await self._user_data.come()
        return {"subscriptionId": self._begin(_session(call), call.holder)}

    async def unsubscribe(self, call: Call) -> object:
        session = _session(call)
        number = call.parameters.optional_integer("subscriptionId")
        if number is None:
            for each in list(session.subscriptions):
                self._end(session, each, call)
        elif number in session.subscriptions:
            self._end(session, number, call)
        else:
            raise Invalid(errors.NOT_SUBSCRIBED)
        return {}

    async def guard(self, call: Call) -> object:
        """In place of what this connection guarded of the account before."""
        session, sent = _session(call), call.parameters
        symbols, enabled = sent.names("symbols"), sent.flag("enabled", default=True)
        grace_ms = sent.optional_integer("graceTime", GRACE_MS_MOST)
        if not enabled and (symbols is not None or grace_ms is not None):
            raise Invalid(errors.BAD_COMBINATION, detail="enabled=false ends all that the connection guards")
        if symbols is not None:
            if len(symbols) > SYMBOLS_MOST:
                raise Invalid(errors.TOO_MANY_PARAMETERS, SYMBOLS_MOST, len(symbols))
            for symbol in symbols:
                await self._shards.market(symbol)
        grace_ms = GRACE_MS_DEFAULT if grace_ms is None else grace_ms
        assert session.peer.socket is not None
        session.peer.socket.watch()
        scopes = (symbols or [""]) if enabled else []
        try:
            await self._guards.guard(session.peer, call.account, scopes, grace_ms)
        finally:
            if session.closed:
                self._guards.leave(session.peer)
        if not enabled:
            return {"enabled": False}
        return {
            "enabled": True,
            "symbols": symbols,
            "graceTime": grace_ms,
            # When nobody is there to count the grace.
            "gatewayLostTime": max(grace_ms, HOLD_MS),
        }

    def closed(self, session: Session) -> None:
        """The connection is gone."""
        session.closed = True
        self._guards.leave(session.peer)
        for subscription in session.subscriptions.values():
            self._user_data.remove(subscription)
        session.subscriptions.clear()

    def _begin(self, session: Session, holder: Holder) -> int:
        if session.closed:
            # It ended while the request was being counted, so nobody would ever take the subscription back.
            raise Invalid(errors.NOT_SUBSCRIBED, detail="the connection has ended")
        if any(subscription.account == holder.account for subscription in session.subscriptions.values()):
            raise Invalid(errors.SUBSCRIBED_ALREADY)
        if len(session.subscriptions) >= SUBSCRIPTIONS_MOST:
            raise Invalid(errors.TOO_MANY_SUBSCRIPTIONS, SUBSCRIPTIONS_MOST)
        if session.next_subscription >= SUBSCRIPTION_IDS_MOST:
            raise Invalid(errors.NO_MORE_SUBSCRIPTIONS)
        number, peer = session.next_subscription, session.peer

        def tell(event: str) -> None:
            peer.say_text(f'{{"subscriptionId":{number},"event":{event}}}')

        subscription = Subscription(
            holder.account,
            holder.api_key,
            session.address,
            session.microseconds,
            tell,
            lambda reason: peer.end(RESTART, reason),
        )
        self._user_data.add(subscription)
        session.subscriptions[number] = subscription
        session.next_subscription += 1
        return number

    def _end(self, session: Session, number: int, call: Call) -> None:
        self._user_data.remove(session.subscriptions.pop(number))
        if session.own_subscription == number:
            session.own_subscription = None
        event = {"e": "eventStreamTerminated", "E": call.clock(call.now_us)}
        session.peer.say({"subscriptionId": number, "event": event})

    def _status(self, call: Call) -> dict[str, object]:
        session = _session(call)
        since_us = session.authorized_us
        return {
            "apiKey": session.holder.api_key if session.holder else None,
            "authorizedSince": None if since_us is None else call.clock(since_us),
            "connectedSince": call.clock(session.connected_us),
            "returnRateLimits": session.return_rate_limits,
            "serverTime": call.clock(call.now_us),
            "userDataStream": bool(session.subscriptions) if self._user_data.is_there else None,
        }


def _session(call: Call) -> Session:
    assert call.session is not None
    return call.session
