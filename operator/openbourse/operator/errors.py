"""What can go wrong around the operator's decisions.

    OperatorError
    +-- LeadershipLost    another replica leads: this process ends, at once
    +-- WatchIsDead       events stopped coming: this process ends, and a new one watches again

An API server that says no, or nothing, is `openbourse.contracts.apiserver.ApiError`: told in a condition, tried again.
"""


class OperatorError(Exception):
    """The operator cannot go on as it is."""


class LeadershipLost(OperatorError):
    """The Lease is another replica's, or was not renewed in time."""


class WatchIsDead(OperatorError):
    """A list shows what a watch should have told long ago."""
