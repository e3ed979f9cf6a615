"""What a witness agrees to: checkpoints of one log that continue the last one it countersigned. Pure.

It never sees a batch. It knows the log's keys, and one checkpoint; what contradicts that one it refuses, and says
whether the two together show that somebody signed two histories.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from openbourse.ledger.errors import Diverged, Invalid
from openbourse.ledger.seal import notes, tree
from openbourse.ledger.seal.checkpoint import Checkpoint
from openbourse.ledger.seal.keychain import KeyChain
from openbourse.ledger.seal.notes import Note

PROOF_LINES_MOST = 63
# How far the log's clock may be ahead of the witness's.
AHEAD_MOST_US = 300 * 1_000_000


@dataclass(frozen=True, slots=True)
class Offer:
    """A checkpoint, and the proof that it continues a tree of `old_size` leaves."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note

    def __str__(self) -> str:
        return f"old {self.old_size}\n" + "".join(f"{notes.b64(node)}\n" for node in self.proof) + f"\n{self.note}"


def parse_offer(body: bytes) -> Offer:
    """c2sp.org/tlog-witness, add-checkpoint. Raises Invalid."""
    head, found, note = body.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
        word, _, size = lines[0].partition(" ")
        old_size = int(size)
    except ValueError:
        raise Invalid("it begins with `old` and the size of the last tree that was countersigned") from None
    if not found or word != "old" or str(old_size) != size or old_size < 0:
        raise Invalid("it is `old` and a size, lines of a proof, an empty line, and a checkpoint")
    if len(lines) - 1 > PROOF_LINES_MOST:
        raise Invalid(f"a proof has at most {PROOF_LINES_MOST} lines")
    proof = tuple(notes.unb64(line) for line in lines[1:])
    if any(len(node) != tree.HASH_BYTES for node in proof):
        raise Invalid("each line of a proof is the base64 of a hash")
    return Offer(old_size, proof, notes.parse(note))


@dataclass(frozen=True, slots=True)
class Refused:
    """`status` is HTTP's. `size`: that of the last tree, if asking again with it may help. `is_evidence`: keep both."""

    status: int
    sentence: str
    size: int | None = None
    is_evidence: bool = False


def judge(chain: KeyChain, last: Checkpoint | None, offer: Offer, now_us: int) -> Checkpoint | Refused:
    """The checkpoint, if it may be countersigned."""
    try:
        offered = chain.checkpoint(offer.note)
    except Invalid as error:
        return Refused(400, str(error))
    except Diverged as error:
        unknown = not offer.note.text.startswith(f"{chain.origin}\n")
        return Refused(404 if unknown else 403, str(error))
    if offer.old_size > offered.size:
        return Refused(400, f"a tree of {offered.size} leaves does not continue one of {offer.old_size}")
    if offered.time_us > now_us + AHEAD_MOST_US:
        return Refused(422, f"checkpoint {offered.number} is of a time that has not come: set the clocks")
    seen = last or Checkpoint(chain.origin, 0, tree.EMPTY_ROOT, 0, 0, "", b"", (), ())
    if (offered.size, offered.root) == (seen.size, seen.root) and offered != seen:
        return Refused(409, f"checkpoint {offered.number}: another text for the same tree", is_evidence=True)
    if offered.size == seen.size and offered.root != seen.root:
        return Refused(
            409, f"a fork: another root for {seen.size} leaves than the one that I countersigned", is_evidence=True
        )
    if offered.size < seen.size and offered.time_us > seen.time_us:
        return Refused(
            409, f"a fork: {offered.size} leaves, after {seen.size} were signed at an earlier time", seen.size, True
        )
    if offer.old_size != seen.size:
        return Refused(409, f"I have countersigned {seen.size} leaves", seen.size)
    if offered == seen:
        return offered
    if offered.time_us <= seen.time_us or offered.number <= seen.number:
        return Refused(422, f"checkpoint {offered.number}: its time or number is not after that of the last one")
    if not tree.is_consistent(seen.size, seen.root, offered.size, offered.root, offer.proof):
        return Refused(
            422, f"no proof that {offered.size} leaves continue the {seen.size} that I countersigned", is_evidence=True
        )
    return offered


def request(old_size: int, proof: Sequence[bytes], note: Note) -> str:
    """The body that asks for a countersignature."""
    return str(Offer(old_size, tuple(proof), note))
