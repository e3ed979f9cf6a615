"""The processes of an exchange, as certificates, labels and logs name them."""

from enum import StrEnum


class Component(StrEnum):
    ENGINE = "engine"
    LEDGER = "ledger"
    GATEWAY = "gateway"
    MARKETDATA = "marketdata"
    OPERATOR = "operator"
    # A person at the command line.
    CLI = "cli"
    # A person whom the API server named, for an hour: may what their role says where people have roles, no more.
    PERSON = "person"


def replica_name(component: str, replica: int) -> str:
    """Of several that do the same, each for itself: the first is called as the component, the next `marketdata-1`."""
    return f"{component}-{replica}" if replica else component
