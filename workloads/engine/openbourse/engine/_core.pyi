class Kernel:
    """One shard's kernel without a log or a loop.

    The windows say how many command ids and closed orders are remembered; they are part of the state.
    """

    def __new__(cls, shard: str, *, remembered_commands: int = 100_000, remembered_orders: int = 100_000) -> Kernel: ...
    def step(self, seq: int, epoch: int, time_us: int, command: bytes) -> tuple[bytes, bytes]:
        """The encoded Reply, and the events as field 4 of an encoded Events.

        Raises ValueError when seq is not the next one, RuntimeError at a checkpoint of another state.
        """

    def answer(self, epoch: int, query: bytes) -> bytes:
        """The encoded Answer. Raises ValueError when the bytes are no Query."""

    def state_hash(self) -> bytes: ...
