"""The keys that sign reports, in a PKCS#11 token: one for each exchange, made there at its first report.

A token in software is made on first use, with a PIN that lies in a Secret of the house; of any other a person gives
the PIN in that Secret. A token that refuses is not asked again: it may lock itself. Its calls block, so threads wait.
"""

import asyncio
import base64
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from openbourse.contracts import hsm, hsm_keys
from openbourse.contracts.apiserver import ApiServer
from openbourse.operator.manifests import kinds
from openbourse.operator.rehearsals.report import Signer

PIN_KEY = "pin"
PIN_SECRET = "OPENBOURSE_PIN_SECRET"  # noqa: S105 - the name of a variable
TOKEN_FOLDER = "OPENBOURSE_TOKEN_FOLDER"  # noqa: S105 - the name of a variable
MADE_WITHIN_S = 30.0
ANSWERS_WITHIN_S = 10.0

_T = TypeVar("_T")


@dataclass(slots=True)
class Signing:
    """Of one house. `environment`: as `contracts.hsm` reads it, the name of the Secret, and where a token in software
    is to be made, if one is."""

    api: ApiServer
    house: str
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _token: hsm.OpenToken | None = None
    _refused: hsm.TokenRefused | None = None
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def key(self, name: str) -> Signer:
        """The key of this name, made where there is none. Raises TokenRefused, TokenAway and ApiError."""
        return await self._asked(lambda token: hsm_keys.find_or_make_key(token, name))

    async def sign(self, do: Callable[[], _T]) -> _T:
        """What signs with such a key, in a thread. Raises TokenRefused and TokenAway."""
        return await self._asked(lambda _: do())

    async def problem(self) -> str:
        """Why no report could be signed now; empty: one could. Raises ApiError."""
        try:
            await self._asked(lambda _: None)
        except hsm.TokenError as error:
            return str(error)
        return ""

    async def _asked(self, do: Callable[[hsm.OpenToken], _T]) -> _T:
        """One at a time: a token is one."""
        async with self._alone:
            if self._refused is not None:
                raise self._refused
            try:
                if self._token is None:
                    settings = await self._settings()
                    self._token = await _in_time(asyncio.to_thread(hsm.OpenToken, settings))
                return await _in_time(asyncio.to_thread(do, self._token))
            except hsm.TokenRefused as error:
                self._refused = error
                raise
            except hsm.TokenAway:
                # It is opened anew.
                self._token = None
                raise

    async def _settings(self) -> hsm.TokenSettings:
        folder = self.environment.get(TOKEN_FOLDER, "")
        pin = await self._pin(may_be_made=bool(folder))
        environment = {**self.environment, "OPENBOURSE_PKCS11_PIN": pin}
        if folder:
            await _make_token(folder, environment)
        return hsm.token_settings(environment)

    async def _pin(self, *, may_be_made: bool) -> str:
        name = self.environment.get(PIN_SECRET, "openbourse-rehearsals-pin")
        found = await self.api.get(kinds.SECRET, self.house, name)
        if found is None and may_be_made:
            metadata = {"name": name, "namespace": self.house, "labels": {"app.kubernetes.io/name": "openbourse"}}
            pin = {PIN_KEY: secrets.token_hex(16)}
            found = await self.api.create(kinds.SECRET, {"metadata": metadata, "stringData": pin})
        if found is None or PIN_KEY not in (found.get("data") or {}):
            raise hsm.TokenAway(f"namespace {self.house} has no Secret {name} with {PIN_KEY}, the token's user PIN")
        return base64.b64decode(found["data"][PIN_KEY]).decode().strip()


async def _in_time(answer: Awaitable[_T]) -> _T:
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            return await answer
    except TimeoutError:
        raise hsm.TokenAway(f"the token did not answer within {ANSWERS_WITHIN_S:g} s") from None


async def _make_token(folder: str, environment: Mapping[str, str]) -> None:
    """In a process of its own, which makes it once. Raises TokenAway."""
    words = [sys.executable, "-m", "openbourse.ledger.seal", "token", "--folder", folder]
    process = await asyncio.create_subprocess_exec(
        *words, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(MADE_WITHIN_S):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise hsm.TokenAway(f"no token was made in {folder} within {MADE_WITHIN_S:g} s") from None
    if process.returncode != 0:
        raise hsm.TokenAway(f"no token was made in {folder}: {said.decode(errors='replace').strip()[-300:]}")
