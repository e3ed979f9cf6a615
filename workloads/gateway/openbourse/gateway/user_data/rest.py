"""The calls of the Binance wire that make, extend and end listen keys. They take a key, and no signature."""

import time

from openbourse.gateway.calls import Call, Endpoint, Endpoints, Security
from openbourse.gateway.user_data.hub import UserData


class ListenKeyRest:
    """The handlers of one gateway. Each raises Refused for what it does not do."""

    def __init__(self, user_data: UserData) -> None:
        self._user_data = user_data

    def endpoints(self) -> Endpoints:
        named = frozenset({"listenKey"})
        return {
            "/api/v3/userDataStream": {
                "POST": Endpoint(self.create, Security.KEY, 2, name="userDataStream.start", own_key=True),
                "PUT": Endpoint(self.extend, Security.KEY, 2, named, name="userDataStream.ping", own_key=True),
                "DELETE": Endpoint(self.end, Security.KEY, 2, named, name="userDataStream.stop", own_key=True),
            }
        }

    async def create(self, call: Call) -> object:
        await self._user_data.come()
        assert call.holder is not None
        keys, now_s = self._user_data.keys, time.monotonic()
        return {"listenKey": await keys.create(call.account, call.holder.api_key, call.address, now_s)}

    async def extend(self, call: Call) -> object:
        await self._user_data.keys.extend(call.parameters.mandatory("listenKey"), call.account, time.monotonic())
        return {}

    async def end(self, call: Call) -> object:
        key = call.parameters.mandatory("listenKey")
        await self._user_data.keys.end(key, call.account, time.monotonic())
        self._user_data.end_key(key, "eventStreamTerminated")
        return {}
