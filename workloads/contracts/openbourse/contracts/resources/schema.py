"""Pydantic models as structural schemas: the dialect of OpenAPI that the API server takes for custom resources.

No references, no unions with null, no titles; a pattern becomes a CEL rule, because the API server answers a pattern
with the pattern and a rule with its sentence.
"""

import copy
import inspect
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

# What a pattern allows, in words, and the length that the API server needs to know beforehand.
_PATTERNS: dict[str, tuple[str, int]] = {
    r"^[0-9]{1,19}(\.[0-9]{1,18})?$": ("must be a decimal number such as 12.5, without sign or exponent", 40),
    r"^[A-Z0-9]{1,16}$": ("must be the name of an asset: 1 to 16 characters A-Z and 0-9, such as BTC", 64),
    r"^[A-Z0-9]{2,32}$": ("must be the name of a symbol: 2 to 32 characters A-Z and 0-9, such as BTCUSDT", 64),
    r"^[A-Za-z0-9]{16,64}$": ("must be an API key: 16 to 64 letters and digits", 64),
    r"^https?://[^ /?#]+(/[^ ?#]*)?$": ("must be a URL of http or https, such as http://collector.example:4318", 512),
}
_DROPPED = frozenset({"title", "additionalProperties", "pattern"})


def structural_schema(model: type[BaseModel]) -> Schema:
    """The schema of `model` as Kubernetes wants it. Raises KeyError for a pattern that nobody put into words."""
    document = model.model_json_schema(by_alias=True)
    definitions = document.pop("$defs", {})
    return _structural(document, definitions)


def _structural(schema: Schema, definitions: Schema) -> Schema:
    schema = _resolved(schema, definitions)
    result: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            result[key] = {name: _structural(entry, definitions) for name, entry in value.items()}
        elif key == "items":
            result[key] = _structural(value, definitions)
        elif key == "additionalProperties" and isinstance(value, dict):
            result[key] = (
                {"type": "string", "maxLength": 64} if value == {"type": "string"} else _structural(value, definitions)
            )
        elif key == "description":
            result[key] = inspect.cleandoc(value)
        elif key not in _DROPPED:
            result[key] = value
    if result.get("type") == "integer":
        result["format"] = "int64"
    if "pattern" in schema:
        sentence, length = _PATTERNS[schema["pattern"]]
        result.setdefault("maxLength", length)
        pattern = schema["pattern"].replace("\\.", "[.]")
        entry = {"rule": f"self.matches('{pattern}')", "message": sentence}
        result["x-kubernetes-validations"] = [entry, *result.get("x-kubernetes-validations", [])]
    _default_objects(result)
    return result


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    """Without a reference or a union with null; what stands beside a reference goes before what it refers to."""
    schema = dict(schema)
    options = schema.pop("anyOf", None)
    if options is not None:
        (only,) = [option for option in options if option != {"type": "null"}]
        schema = only | schema
        if schema.get("default", ...) is None:
            del schema["default"]
    if "$ref" in schema:
        target = _resolved(definitions[schema.pop("$ref").removeprefix("#/$defs/")], definitions)
        both = [*target.get("x-kubernetes-validations", []), *schema.get("x-kubernetes-validations", [])]
        schema = target | schema | ({"x-kubernetes-validations": both} if both else {})
    return schema


def _default_objects(schema: Schema) -> None:
    """An object that may be left out has the defaults of its fields all the same.

    Written out, because the API server holds a default against the object's rules before it fills in any other.
    """
    required = schema.get("required", [])
    for name, entry in schema.get("properties", {}).items():
        parts = entry.get("properties", {}).items()
        defaults = {part: copy.deepcopy(field["default"]) for part, field in parts if "default" in field}
        if name not in required and defaults and "required" not in entry and "default" not in entry:
            entry["default"] = defaults
