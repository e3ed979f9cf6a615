"""How the operator asks an exchange's ledgers about moves of symbols: over mutual TLS, with a certificate of its own.

The key is read from its Secret for as long as the asking takes. Nothing here decides, or asks twice.
"""

import base64
import datetime
import json
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from pathlib import Path

import aiohttp
from pydantic import ValidationError

from openbourse.contracts import tls
from openbourse.contracts.apiserver import ApiError, ApiServer, Object
from openbourse.contracts.resources import Exchange, Symbol, SymbolMove
from openbourse.operator import moves
from openbourse.operator.manifests import kinds, ledger, names
from openbourse.operator.observed import MoveFacts
from openbourse.operator.status_pages import NoAnswer, whole

TIMEOUT_S = 2.0
_PATH = "/v1/moves/symbols"


# An exchange, one of its shards, method, path and body to the HTTP status and the answer. Raises NoAnswer.
AskLedger = Callable[[Exchange, str, str, str, Object | None], Awaitable[tuple[int, Object]]]


def over_mutual_tls(api: ApiServer, session: aiohttp.ClientSession) -> AskLedger:
    """For a process in the cluster. Raises ApiError too, where the certificate cannot be read."""

    async def ask(exchange: Exchange, shard: str, method: str, path: str, body: Object | None) -> tuple[int, Object]:
        namespace = exchange.metadata.namespace
        secret = await api.get(kinds.SECRET, namespace, names.certificate(names.operator(exchange.metadata.name)))
        if secret is None:
            raise NoAnswer("the operator's own certificate is not made yet")
        url = f"https://{names.ledger(exchange.metadata.name, shard)}.{namespace}.svc:{ledger.PORT}{path}"
        return await asked(session, _context(secret), method, url, body)

    return ask


async def asked(
    session: aiohttp.ClientSession, context: ssl.SSLContext, method: str, url: str, body: Object | None
) -> tuple[int, Object]:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with session.request(method, url, json=body, ssl=context, timeout=timeout) as response:
            answer = json.loads(await whole(response.content))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise NoAnswer(f"{type(error).__name__} {error}") from error
    if not isinstance(answer, dict):
        raise NoAnswer(f"{url} answered no object")
    return response.status, answer


async def how_far(ask: AskLedger, exchange: Exchange, symbols: Iterable[Symbol]) -> dict[str, MoveFacts | None]:
    """By id, the moves that are noted as under way; None where the ledgers know of none. Of who is silent nothing."""
    found: dict[str, MoveFacts | None] = {}
    for symbol in symbols:
        move = symbol.status.move
        if move is None or move.is_over or move.id is None:
            continue
        # Either shard's ledger has it in its books; the second is asked where the first is away.
        for shard in (move.from_shard, move.to_shard):
            try:
                status, answer = await ask(exchange, shard, "GET", f"{_PATH}/{move.id}", None)
                if status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
                    found[move.id] = MoveFacts.model_validate(answer) if status == HTTPStatus.OK else None
                    break
            except (NoAnswer, ApiError, ValidationError):
                continue
    return found


async def begin(
    ask: AskLedger, exchange: Exchange, symbol: Symbol, move: SymbolMove, now: datetime.datetime
) -> SymbolMove:
    """Asks the ledger of the shard that the symbol leaves; what is to be noted then."""
    body = {
        "symbol": symbol.spec.name,
        "from_shard": move.from_shard,
        "to_shard": move.to_shard,
        "move_id": move.id,
        "wait": False,
    }
    try:
        status, answer = await ask(exchange, move.from_shard, "POST", _PATH, body)
        if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            return moves.as_told(move, MoveFacts.model_validate(answer), now)
    except (NoAnswer, ValidationError) as error:
        return moves.not_done(move, f"the ledger of shard {move.from_shard} did not answer: {error}", now)
    why = str(answer.get("message", answer))
    # What is wrong with the request stays so; another move of the symbol, or a database that is away, does not.
    return (moves.refused if status == HTTPStatus.BAD_REQUEST else moves.not_done)(move, why, now)


async def take_back(ask: AskLedger, exchange: Exchange, move: SymbolMove, now: datetime.datetime) -> SymbolMove | None:
    """Asks either ledger for the symbol back; what is to be noted where neither took the wish, else None."""
    why = ""
    for shard in (move.to_shard, move.from_shard):
        try:
            status, answer = await ask(exchange, shard, "POST", f"{_PATH}/{move.id}/undo", None)
        except NoAnswer as error:
            why = str(error)
            continue
        if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            return None
        why = str(answer.get("message", answer))
    return moves.not_done(move, why, now)


def _context(secret: Object) -> ssl.SSLContext:
    """Raises NoAnswer for a Secret that holds no certificate."""
    with tempfile.TemporaryDirectory(prefix="openbourse-") as folder:
        try:
            for name in ("ca.crt", "tls.crt", "tls.key"):
                (Path(folder) / name).write_bytes(base64.b64decode(secret["data"][name]))
            return tls.client_context(Path(folder))
        except (KeyError, ValueError, OSError) as error:
            raise NoAnswer(f"the operator's own certificate cannot be read: {type(error).__name__} {error}") from error
