"""What a person may do, as their certificate says it. Each role may all that the one before it may."""

from enum import StrEnum


class Role(StrEnum):
    # Looks, and changes nothing.
    VIEWER = "viewer"
    # Stops: kill switches on, and orders cancelled, of an account or a market.
    OPERATOR = "operator"
    # Lets go on what was stopped, and cancels all orders of a shard.
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        roles = list(Role)
        return roles.index(self) >= roles.index(other)
