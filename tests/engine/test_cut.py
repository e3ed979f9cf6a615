"""A log that is cut while its disk is behind: the core says where it ends then."""

from pathlib import Path

from fixtures.engines import SHARD
from openbourse.contracts import v1
from openbourse.contracts.frames import encode
from openbourse.engine._core import ITSELF, Engine, SimulatedDisk

BATCHES = 5


def written(folder: Path) -> list[bytes]:
    """The records of some batches, as a leader sends them."""
    leader = Engine(folder, SHARD)
    leader.lead(1)
    pieces = []
    for seq in range(1, BATCHES + 1):
        tick = v1.Command(command_id=seq.to_bytes(16, "big"), tick=v1.Tick())
        assert leader.receive(ITSELF, encode(v1.ClientFrame(command=tick))) is None
        leader.begin(0)
        while leader.durable_seq() < seq:
            pass
        leader.commit(seq)
        leader.collect()
        piece = leader.recent(seq - 1, seq, 1 << 20)
        assert piece is not None
        pieces.append(piece[1])
    return pieces


def test_a_log_that_is_cut_before_its_disk_has_it_ends_where_the_disk_does(tmp_path: Path) -> None:
    """Found by the simulation of the shard, seed 354: the member took for durable what only waited for the disk."""
    disk, folder = SimulatedDisk(), tmp_path / "standby"
    disk.mount(folder)
    try:
        standby = Engine(folder, SHARD)
        for records in written(tmp_path / "leader"):
            standby.follow(records)
        assert standby.end_seq == BATCHES
        standby.cut(BATCHES - 1)
        # Two were with the writer, which finishes them; the others waited.
        assert standby.end_seq == 2
        assert standby.runs == [(1, 2)]
    finally:
        SimulatedDisk.unmount(folder)
