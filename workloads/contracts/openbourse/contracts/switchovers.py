"""A planned switchover as it is asked for: one annotation of the EngineShard. Nothing here decides or carries out.

The leader of `epoch`, and no other, hands over to `to`, once: with the next epoch the request is over, whatever became
of it. What became of it is in `status.switchover` of the same object, under the same id.
"""

from typing import Final

from pydantic import Field, ValidationError

from openbourse.contracts.apiserver import Object
from openbourse.contracts.documents import Document

ANNOTATION: Final = "openbourse.dev/switchover"


class SwitchoverRequest(Document):
    """`to` is a pod, `id` the asker's own."""

    id: str = Field(min_length=1, max_length=64)
    epoch: int = Field(ge=1)
    to: str = Field(min_length=1, max_length=253)


def request_of(shard: Object) -> SwitchoverRequest | None:
    """What the object asks for; None: nothing. Raises ValueError with what is wrong with it."""
    text = (shard["metadata"].get("annotations") or {}).get(ANNOTATION)
    if not text:
        return None
    try:
        return SwitchoverRequest.model_validate_json(text)
    except ValidationError as error:
        what = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
        raise ValueError(f"the annotation {ANNOTATION} is no request ({what}): {text[:200]}") from None


def asking(namespace: str, shard: str, uid: str, request: SwitchoverRequest) -> Object:
    """The part of the shard that asks. For a field manager of its own: it takes back what that one applied before."""
    text = request.model_dump_json(by_alias=True)
    return {"metadata": {"namespace": namespace, "name": shard, "uid": uid, "annotations": {ANNOTATION: text}}}
