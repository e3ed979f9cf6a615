"""What documents about an exchange are made of: the listing, and the custom resources. Text in, checked text out.

Decimals and durations stay text here, as Kubernetes stores them; whoever needs a number reads it where it is used.
"""

import datetime
import hashlib
import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

DecimalText = Annotated[str, Field(pattern=r"^[0-9]{1,19}(\.[0-9]{1,18})?$", max_length=40)]
AssetName = Annotated[str, Field(pattern=r"^[A-Z0-9]{1,16}$")]
SymbolName = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,32}$")]

# As a CEL rule says it, which knows no groups; `parse_duration` says the same.
DURATION_PATTERN = "^([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,7}s)?$"
_DURATION = re.compile(r"(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,7})s)?")


class Document(BaseModel):
    """camelCase outside, as Kubernetes writes; unknown fields are refused, not ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, defer_build=True
    )


def duration_sentence(field: str) -> str:
    """What is allowed."""
    return f"{field} must be a time such as 90s, 15m or 1h30m, at least 1s"


def parse_duration(text: str, field: str = "duration") -> datetime.timedelta:
    """Reads "1h30m". Raises ValueError with the field and what is allowed."""
    match = _DURATION.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    duration = datetime.timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if not duration:
        raise ValueError(duration_sentence(field))
    return duration


def first_problem(error: ValidationError, where: str = "") -> str:
    """Where and what, and nothing of what stands there."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(filter(None, (where, *(str(part) for part in first["loc"])))) or "the document"
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"


def digest(content: bytes) -> str:
    """Of a file of limits or of API keys, by which a gateway says which one it has in use."""
    return hashlib.sha256(content).hexdigest()[:16]
