"""What all custom resources of OpenBourse have in common. Values only: nothing here talks to a cluster."""

import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from openbourse.contracts.apiserver import Resource
from openbourse.contracts.documents import Document

GROUP = "openbourse.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "bourse"


def rule(expression: str, message: str, **options: str) -> dict[str, str]:
    """A CEL rule that the API server checks; the message says what is allowed."""
    return {"rule": expression, "message": message, **options}


def rules(*entries: dict[str, str]) -> dict[str, Any]:
    """As `json_schema_extra` of the field or model that the rules are about."""
    return {"x-kubernetes-validations": list(entries)}


def list_map(*keys: str) -> dict[str, Any]:
    """A list whose items are known by `keys`: several writers can own an item each."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


class Stored(Document):
    """A part of an object that comes from the cluster: fields of a newer version are ignored, not refused."""

    model_config = ConfigDict(extra="ignore")


AddressOrNetwork = Annotated[
    str,
    Field(
        min_length=2,
        max_length=49,
        json_schema_extra=rules(
            rule(
                "isIP(self) || isCIDR(self) && cidr(self) == cidr(self).masked()",
                "must be an address such as 10.0.0.7, or a network such as 10.0.0.0/8, without bits behind its prefix",
            )
        ),
    ),
]


class Condition(Stored):
    """One fact about an object, with the sentence that explains it."""

    type: str = Field(max_length=64)
    status: Literal["True", "False", "Unknown"]
    reason: str = Field(max_length=128)
    message: str = Field(default="", max_length=1024)
    observed_generation: int = Field(default=0, description="the generation of spec that this is about")
    last_transition_time: datetime.datetime


class Status(Stored):
    """What every kind's status has."""

    observed_generation: int | None = Field(default=None, description="the generation of spec that this is about")
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16, json_schema_extra=list_map("type"))


class OwnerReference(Stored):
    api_version: str
    kind: str
    name: str
    uid: str


class Metadata(Stored):
    """The part of Kubernetes' object metadata that anybody here reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: datetime.datetime | None = None
    deletion_timestamp: datetime.datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()


class Column(Document):
    """A column of `kubectl get`."""

    name: str
    type: Literal["string", "integer", "date", "boolean"]
    json_path: str
    description: str = ""


class CustomResource(Stored):
    """A kind. A subclass gives `spec`, `status` and how kubectl calls and shows it."""

    metadata: Metadata
    status: Status = Field(default_factory=Status)

    resource: ClassVar[Resource]
    short_names: ClassVar[tuple[str, ...]]
    columns: ClassVar[tuple[Column, ...]]
    # For the scale subresource: where spec has the number, status the number that there are, and their selector.
    scale: ClassVar[tuple[str, str, str] | None] = None
    # Rules about the whole object: the only ones that see its name.
    object_rules: ClassVar[tuple[dict[str, str], ...]] = ()


def kind(plural: str, name: str) -> Resource:
    return Resource(GROUP, VERSION, plural, name)


def short_name_rule(what: str) -> dict[str, str]:
    """Names of services and pods are made from these names, so they have to fit into a DNS label."""
    return rule(
        "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,18}[a-z0-9])?$')",
        f"the name of {what} may have at most 20 characters a-z, 0-9 and -, and begins with a letter",
    )


AGE = Column(name="Age", type="date", json_path=".metadata.creationTimestamp")
READY = Column(name="Ready", type="string", json_path='.status.conditions[?(@.type=="Ready")].status')
REASON = Column(name="Reason", type="string", json_path='.status.conditions[?(@.type=="Ready")].reason')
