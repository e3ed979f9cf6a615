"""The highest epoch that a volume led, joined or was sealed for: durable before it is acted on, never taken back."""


def admits(promise: int, epoch: int) -> bool:
    """Whether a session of `epoch` is followed at all."""
    return epoch >= promise


def may_lead(promise: int, epoch: int) -> bool:
    """Whether an epoch that this boot won may be led now. One that hears of it too late has promised a newer one."""
    return epoch > promise


def may_act(promised: int, epoch: int) -> bool:
    """Whether the promise of `epoch` is durable, so that the log may be cut, joined or led under it."""
    return promised >= epoch
