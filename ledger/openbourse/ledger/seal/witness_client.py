"""Asks a witness for its countersignature, as c2sp.org/tlog-witness says, and tells it of new keys."""

from collections.abc import Sequence
from urllib.parse import quote

import httpx

from openbourse.ledger.errors import Diverged, Invalid, Unavailable
from openbourse.ledger.seal import notes, tree
from openbourse.ledger.seal.notes import Note, Signature, WitnessKey
from openbourse.ledger.seal.tree import Edge
from openbourse.ledger.seal.witnessing import request

TIMEOUT_S = 10.0


class WitnessClient:
    """One witness, at a URL, by the key that it was introduced with."""

    def __init__(self, url: str, key: WitnessKey) -> None:
        self._url = url.rstrip("/")
        self.key = key

    @property
    def file_name(self) -> str:
        return quote(self.key.name, safe="")

    async def add_checkpoint(
        self, old: Edge, leaves: Sequence[bytes], note: Note, announced: Sequence[Note]
    ) -> Signature | int:
        """Its signature below the note, or the size of the tree that it has seen when `old` is not that.

        Raises Diverged when it refuses for good, and Unavailable.
        """
        body = request(old.size, tree.consistency_proof(old, leaves), note)
        response = await self._post("add-checkpoint", body)
        if response.status_code == httpx.codes.FORBIDDEN:
            # It may not know the key yet that signs now.
            for announcement in announced:
                await self._post("add-key", str(announcement))
            response = await self._post("add-checkpoint", body)
        if response.headers.get("content-type", "").startswith("text/x.tlog.size"):
            return self._size(response.text)
        if response.status_code != httpx.codes.OK:
            sentence = f"the witness {self.key.name} refuses: {response.status_code} {response.text.strip()[:300]}"
            if response.status_code in {403, 404, 409, 422}:
                raise Diverged(sentence)
            raise Unavailable(sentence)
        return self._signature(note, response.text)

    def _size(self, text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise Unavailable(f"the witness {self.key.name} answers no size: {text[:80]!r}") from None

    def _signature(self, note: Note, answer: str) -> Signature:
        try:
            lines = [notes.parse_signature(line) for line in answer.splitlines()]
        except Invalid as error:
            raise Unavailable(f"the witness {self.key.name} answers no signature: {error}") from error
        for line in lines:
            if self.key.cosigned_at(Note(note.text, (line,))) is not None:
                return line
        raise Unavailable(f"the witness at {self._url} does not sign with the key of {self.key.name}")

    async def _post(self, path: str, body: str) -> httpx.Response:
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                return await client.post(f"{self._url}/{path}", content=body.encode())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"the witness {self.key.name} at {self._url}: {error or type(error).__name__}") from error
