"""The CustomResourceDefinitions, made from the models. `crds/*.yaml` is what this says, and a test holds them equal."""

import json
from typing import Any

import yaml

from openbourse.contracts.resources.api_key import ApiKey
from openbourse.contracts.resources.engine_shard import EngineShard
from openbourse.contracts.resources.exchange import Exchange
from openbourse.contracts.resources.halt import Halt
from openbourse.contracts.resources.meta import CATEGORY, VERSION, Column, CustomResource
from openbourse.contracts.resources.rehearsal import Rehearsal
from openbourse.contracts.resources.rehearsal_schedule import RehearsalSchedule
from openbourse.contracts.resources.schema import structural_schema
from openbourse.contracts.resources.symbol import Symbol
from openbourse.contracts.resources.trading_limit import TradingLimit

MODELS: tuple[type[CustomResource], ...] = (
    Exchange,
    EngineShard,
    Symbol,
    Halt,
    TradingLimit,
    ApiKey,
    Rehearsal,
    RehearsalSchedule,
)
_HEADER = "# Generated from openbourse.contracts.resources by `make regen`.\n"


def definition(model: type[CustomResource]) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    resource = model.resource
    schema = structural_schema(model)
    # The API server knows metadata better than we do.
    schema["properties"]["metadata"] = {"type": "object"}
    schema["properties"] = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, **schema["properties"]}
    schema["required"] = ["spec"]
    _without_defaults(schema["properties"]["status"])
    if model.object_rules:
        schema["x-kubernetes-validations"] = list(model.object_rules)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": list(model.short_names),
                "categories": [CATEGORY],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}, **_scale(model)},
                    "additionalPrinterColumns": [_column(column) for column in model.columns],
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _without_defaults(schema: dict[str, Any]) -> None:
    """A status has several writers: nobody may find a value there that none of them wrote."""
    schema.pop("default", None)
    for part in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
        _without_defaults(part)


def files() -> dict[str, str]:
    """File name -> YAML, as committed."""
    # Read back, so that no part of it is the same object as another: YAML would write a reference.
    apart = {model.resource.plural: json.loads(json.dumps(definition(model))) for model in MODELS}
    return {
        f"{plural}.yaml": _HEADER + yaml.safe_dump(made, sort_keys=False, width=120) for plural, made in apart.items()
    }


def _scale(model: type[CustomResource]) -> dict[str, Any]:
    if model.scale is None:
        return {}
    wanted, there, selector = model.scale
    return {
        "scale": {"specReplicasPath": wanted, "statusReplicasPath": there, "labelSelectorPath": selector},
    }


def _column(column: Column) -> dict[str, str]:
    return column.model_dump(by_alias=True, exclude_defaults=True)
