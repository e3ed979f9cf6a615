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
