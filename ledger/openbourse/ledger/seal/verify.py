"""Verifies an export offline, from the first public key and what a witness has countersigned. No database, no network.

What is believed: the key that was given, and the witness's key. All else is recomputed: keys, checkpoints, every batch,
the tree, totals, balances. The first bad place is the first problem of the verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from openbourse.ledger.accounts import MAY_BE_NEGATIVE
from openbourse.ledger.errors import Diverged, Invalid
from openbourse.ledger.seal import keychain, notes
from openbourse.ledger.seal.checkpoint import NO_HASH, Checkpoint, ShardEnd
from openbourse.ledger.seal.copies import Malformed, rows
from openbourse.ledger.seal.exporting import shard_folder
from openbourse.ledger.seal.keychain import KeyChain
from openbourse.ledger.seal.notes import Note, WitnessKey
from openbourse.ledger.seal.tree import Edge
from openbourse.ledger.seal.verdict import Verdict
from openbourse.ledger.seal.verify_manual import moved_by_hand
from openbourse.ledger.seal.verify_shard import ShardCheck, sealed_by


@dataclass(frozen=True, slots=True)
class Trust:
    """What the verifier has from elsewhere: the ledger's first key (DER), and notes that witnesses countersigned.

    With a witness's key each of these notes has to be countersigned by it.
    """

    first_key: bytes
    witnessed: tuple[Note, ...] = ()
    witness_key: WitnessKey | None = None


def verify(folder: Path, trust: Trust) -> Verdict:
    """The verdict on an export. Raises Invalid when there is no export."""
    if not folder.is_dir():
        raise Invalid(f"{folder} is no folder: make an export with `openbourse ledger export`")
    verdict = Verdict()
    try:
        chain = _keys(folder, trust, verdict)
        checkpoints = _checkpoints(folder, chain, verdict)
        witnessed = _witnessed(chain, trust, checkpoints, verdict)
        shards = _shards(folder, checkpoints, verdict)
        _tree(folder, checkpoints, witnessed, shards, verdict)
        _balances(folder, shards, checkpoints, verdict)
    except (Malformed, Invalid, Diverged) as error:
        verdict.wrong("export", str(error))
    return verdict


def _keys(folder: Path, trust: Trust, verdict: Verdict) -> KeyChain:
    announced = [notes.parse(str(note)) for (note,) in rows(folder / "keys.copy", "t")]
    chain = keychain.follow(trust.first_key, announced)
    verdict.keys = len(announced)
    return chain


def _checkpoints(folder: Path, chain: KeyChain, verdict: Verdict) -> list[Checkpoint]:
    """Those up to the first that is not what its key signed, or does not follow the one before it."""
    found: list[Checkpoint] = []
    for number, (text,) in enumerate(rows(folder / "checkpoints.copy", "t"), start=1):
        try:
            checkpoint = chain.checkpoint(notes.parse(str(text)))
        except (Invalid, Diverged) as error:
            verdict.wrong(f"checkpoint {number}", str(error).removeprefix(f"checkpoint {number} "))
            break
        before = found[-1] if found else None
        if checkpoint.number != len(found) + 1:
            verdict.wrong(f"checkpoint {number}", f"checkpoint {len(found) + 1} is missing before it")
            break
        if checkpoint.previous != (before.hash if before else NO_HASH):
            verdict.wrong(f"checkpoint {number}", "it does not continue the checkpoint before it")
            break
        if before and not (before.size < checkpoint.size and before.time_us < checkpoint.time_us):
            verdict.wrong(f"checkpoint {number}", "its size or its time is not after that of the one before it")
            break
        for total in checkpoint.totals:
            if total.sum:
                verdict.wrong(f"checkpoint {number}", f"{total.asset} in shard {total.shard} sums to {total.sum}")
        found.append(checkpoint)
    verdict.checkpoints = len(found)
    return found


def _witnessed(chain: KeyChain, trust: Trust, checkpoints: Sequence[Checkpoint], verdict: Verdict) -> list[Checkpoint]:
    """What the witness has seen, which the export has with the same text if it has it."""
    found = []
    for note in trust.witnessed:
        try:
            if trust.witness_key is not None and trust.witness_key.cosigned_at(note) is None:
                raise Diverged(f"it is not countersigned by {trust.witness_key.name}")
            found.append(chain.checkpoint(note))
        except (Invalid, Diverged) as error:
            verdict.wrong("the witness's checkpoint", str(error))
    for seen in found:
        # Where the leaves differ, they are the closer place.
        there = checkpoints[seen.number - 1] if seen.number <= len(checkpoints) else seen
        if seen != there and seen.root == there.root:
            verdict.wrong(f"the witness's checkpoint {seen.number}", "the export has another text in its place")
    return sorted(found, key=lambda checkpoint: checkpoint.size)


def _shards(folder: Path, checkpoints: Sequence[Checkpoint], verdict: Verdict) -> dict[str, ShardCheck]:
    found = {}
    for path in sorted(folder.glob("*.shard")):
        shard = unquote(path.name.removesuffix(".shard"))
        check = ShardCheck(path, shard, sealed_by(checkpoints, shard), verdict)
        check.run()
        found[shard] = check
    return found


def _tree(
    folder: Path,
    checkpoints: Sequence[Checkpoint],
    witnessed: Sequence[Checkpoint],
    shards: dict[str, ShardCheck],
    verdict: Verdict,
) -> None:
    """Every root again, from the heads of the batches as they are in the export."""
    edge = Edge()
    ends = dict.fromkeys(shards, 0)
    due, seen = list(reversed(checkpoints)), list(reversed(witnessed))
    good = 0
    while seen and seen[-1].size == 0:
        seen.pop()
    for leaf, shard, batch in rows(folder / "leaves.copy", "qtq"):
        assert isinstance(shard, str) and isinstance(batch, int)
        if leaf != edge.size:
            verdict.wrong(f"leaf {leaf}", f"leaf {edge.size} is missing before it")
            return
        if shard not in shards or batch != ends[shard] + 1 or batch > len(shards[shard].leaves):
            verdict.wrong(
                f"leaf {leaf}",
                f"it is batch {batch} of shard {shard}, after batch {ends.get(shard, 0)} of "
                f"{len(shards[shard].leaves) if shard in shards else 0} that are there",
            )
            return
        ends[shard] = batch
        edge.append(shards[shard].leaves[batch - 1])
        if due and edge.size == due[-1].size:
            checkpoint = due.pop()
            _check_ends(checkpoint, ends, shards, verdict)
            if edge.root() != checkpoint.root:
                verdict.wrong(
                    f"checkpoint {checkpoint.number}, {_covered(checkpoints, checkpoint.number - 1, shards)}",
                    "the batches are not the ones that were signed (root)",
                )
                # Every later root holds the same leaves.
                due.clear()
            else:
                good = edge.size
        while seen and edge.size == seen[-1].size:
            checkpoint = seen.pop()
            if edge.root() != checkpoint.root:
                verdict.wrong(
                    f"the witness's checkpoint {checkpoint.number} of {checkpoint.size} leaves",
                    "the batches are not the ones that the witness has seen: history was written anew at or before "
                    + _last(checkpoint, shards),
                )
                seen.clear()
    verdict.leaves = edge.size
    for checkpoint in due[-1:]:
        verdict.wrong(
            f"checkpoint {checkpoint.number}",
            f"it has {checkpoint.size} leaves, and {edge.size} are there: the end was cut off",
        )
    for checkpoint in seen[-1:]:
        verdict.wrong(
            f"the witness's checkpoint {checkpoint.number} of {checkpoint.size} leaves",
            f"{edge.size} leaves are there: the end was cut off, or the export is older than the checkpoint",
        )
    if edge.size != (checkpoints[-1].size if checkpoints else 0) and not due and good:
        verdict.wrong(f"leaf {edge.size - 1}", "it is in no checkpoint")
    verdict.unsealed_batches = sum(len(shards[shard].leaves) - end for shard, end in ends.items())


def _check_ends(checkpoint: Checkpoint, ends: dict[str, int], shards: dict[str, ShardCheck], verdict: Verdict) -> None:
    made = tuple(sorted(ShardEnd(shard, end, shards[shard].seqs[end - 1][1]) for shard, end in ends.items() if end))
    if made != checkpoint.shards:
        verdict.wrong(
            f"checkpoint {checkpoint.number}",
            f"it says that shards end at {_ends(checkpoint.shards)}, its leaves say {_ends(made)}",
        )


def _ends(ends: Sequence[ShardEnd]) -> str:
    return ", ".join(f"{end.shard} batch {end.batch} seq {end.seq}" for end in ends) or "nothing"


def _covered(checkpoints: Sequence[Checkpoint], at: int, shards: dict[str, ShardCheck]) -> str:
    """What a checkpoint has that the one before it had not."""
    before = {end.shard: end for end in checkpoints[at - 1].shards} if at else {}
    parts = []
    for end in checkpoints[at].shards:
        first = before[end.shard].batch + 1 if end.shard in before else 1
        if first <= end.batch and end.shard in shards:
            seq = before[end.shard].seq + 1 if end.shard in before else 1
            parts.append(f"shard {end.shard} batch {first} to {end.batch}, seq {seq} to {end.seq}")
    return "; ".join(parts)


def _last(checkpoint: Checkpoint, shards: dict[str, ShardCheck]) -> str:
    return _ends([end for end in checkpoint.shards if end.shard in shards])


def _balances(folder: Path, shards: dict[str, ShardCheck], checkpoints: Sequence[Checkpoint], verdict: Verdict) -> None:
    """The balances kept are the sums of all legs, manual ones too, and no trader owes."""
    made = {shard: check.sums.balances() for shard, check in shards.items()}
    for name, balances in made.items():
        by_hand = moved_by_hand(folder / shard_folder(name) / "manual.copy", name, checkpoints, verdict)
        for balance, moved in by_hand.items():
            before, on_hold = balances.get(balance, (0, 0))
            balances[balance] = (before + moved, on_hold)
    for shard, account, asset, available, hold in rows(folder / "balances.copy", "tqtqq"):
        assert isinstance(shard, str) and isinstance(account, int) and isinstance(asset, str)
        assert isinstance(available, int) and isinstance(hold, int)
        verdict.balances += 1
        place = f"balance of account {account} in {asset}, shard {shard}"
        sums = made.get(shard, {}).pop((account, asset), (0, 0))
        if (available, hold) != sums:
            verdict.wrong(place, f"kept as {(available, hold)}, the entries make {sums} (available, hold)")
        if hold < 0 or (available < 0 and account not in MAY_BE_NEGATIVE):
            verdict.wrong(place, f"{(available, hold)} is less than nothing")
    for shard, rest in made.items():
        for (account, asset), sums in sorted(balance for balance in rest.items() if any(balance[1]))[:1]:
            verdict.wrong(
                f"balance of account {account} in {asset}, shard {shard}",
                f"it is missing, the entries make {sums} (available, hold)",
            )
