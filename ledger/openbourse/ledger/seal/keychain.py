"""Which key may sign which checkpoint: from one first public key along announcements that the key before signed. Pure.

An announcement is a note signed by the key that it announces, which shows that somebody has it, and by the key before.
It names the first checkpoint that the new key signs; from there on the old one signs nothing any more.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from openbourse.ledger.errors import Diverged, Invalid
from openbourse.ledger.seal import notes
from openbourse.ledger.seal.checkpoint import NO_HASH, Checkpoint, parse, text_hash
from openbourse.ledger.seal.notes import Note, Signer, b64, key_hash, unb64

_TITLE = "openbourse seal key 1"
KEYS_MOST = 1000


@dataclass(frozen=True, slots=True)
class Announcement:
    """`generation` counts from 1; `previous` is the hash of the announcement before this one's text."""

    origin: str
    generation: int
    first_checkpoint: int
    time_us: int
    public: bytes
    previous: bytes

    def text(self) -> str:
        return (
            f"{_TITLE}\n{self.origin}\ngeneration {self.generation}\nfirst_checkpoint {self.first_checkpoint}\n"
            f"time_us {self.time_us}\npublic {b64(self.public)}\nprevious {b64(self.previous)}\n"
        )


def parse_announcement(text: str) -> Announcement:
    """Raises Invalid."""
    lines = text.split("\n")
    try:
        fields = dict(line.split(" ", 1) for line in lines[2:7])
        announced = Announcement(
            lines[1],
            int(fields["generation"]),
            int(fields["first_checkpoint"]),
            int(fields["time_us"]),
            unb64(fields["public"]),
            unb64(fields["previous"]),
        )
    except (ValueError, KeyError, IndexError, Invalid) as error:
        raise Invalid(f"no announcement of a key: {error}") from None
    if announced.text() != text:
        raise Invalid("no announcement of a key: it is not written as one")
    return announced


@dataclass(frozen=True, slots=True)
class KeyChain:
    """The keys of a ledger from the first on, each vouched for by the one before."""

    origin: str
    announcements: tuple[Announcement, ...]

    def key_of(self, number: int) -> Announcement:
        """The key that signs checkpoint `number`."""
        return [a for a in self.announcements if a.first_checkpoint <= number][-1]

    def checkpoint(self, note: Note) -> Checkpoint:
        """The checkpoint in a note, if the key whose turn it was signed it. Raises Invalid and Diverged."""
        checkpoint = parse(note.text)
        if checkpoint.origin != self.origin:
            raise Diverged(f"checkpoint {checkpoint.number} is of {checkpoint.origin}, not of {self.origin}")
        if checkpoint.number < 1:
            raise Invalid("checkpoints count from 1")
        self.require_signed(note, checkpoint.number, checkpoint.key)
        return checkpoint

    def require_signed(self, note: Note, number: int, key: str) -> None:
        """Raises Diverged if a note about checkpoint `number` is not signed by the key whose turn it was."""
        due = self.key_of(number)
        if key != key_hash(due.public):
            raise Diverged(
                f"checkpoint {number} says key {key[:16]}, but key {key_hash(due.public)[:16]} "
                f"(generation {due.generation}) signs there"
            )
        if not notes.is_signed(note, self.origin, due.public):
            raise Diverged(
                f"checkpoint {number} has no valid signature of key {key[:16]} (generation {due.generation})"
            )

    def extended(self, note: Note) -> "KeyChain":
        """With one announcement more. Raises Invalid and Diverged."""
        announced = parse_announcement(note.text)
        last = self.announcements[-1] if self.announcements else None
        expected = last.generation + 1 if last else 1
        what = f"the announcement of key generation {announced.generation}"
        if announced.generation != expected or announced.origin != self.origin:
            raise Diverged(f"{what} of {announced.origin}: expected generation {expected} of {self.origin}")
        if not notes.is_signed(note, self.origin, announced.public):
            raise Diverged(f"{what} is not signed by the key that it announces")
        if last is None:
            if announced.previous != NO_HASH or announced.first_checkpoint != 1:
                raise Diverged(f"{what} does not begin a chain of keys")
            return KeyChain(self.origin, (announced,))
        if announced.previous != text_hash(last.text()) or announced.time_us < last.time_us:
            raise Diverged(f"{what} does not follow the one before it")
        if announced.first_checkpoint < last.first_checkpoint:
            raise Diverged(f"{what} takes checkpoints from a key that had followed")
        if not notes.is_signed(note, self.origin, last.public):
            raise Diverged(f"{what} is not signed by the key before it")
        if len(self.announcements) == KEYS_MOST:
            raise Invalid(f"more than {KEYS_MOST} keys")
        return KeyChain(self.origin, (*self.announcements, announced))


def follow(first: bytes, announced: Iterable[Note]) -> KeyChain:
    """The chain that begins with this public key (DER). Raises Invalid and Diverged."""
    chain: KeyChain | None = None
    for note in announced:
        if chain is None:
            announcement = parse_announcement(note.text)
            if announcement.public != first:
                raise Diverged(
                    f"the first key there is {key_hash(announcement.public)[:16]}, not {key_hash(first)[:16]}, "
                    "which was given as the one to trust"
                )
            chain = KeyChain(announcement.origin, ())
        chain = chain.extended(note)
    if chain is None:
        raise Invalid("no key is announced")
    return chain


def announce(
    origin: str, time_us: int, signer: Signer, before: tuple[Announcement, Signer] | None, first_checkpoint: int
) -> Note:
    """The signed announcement of a new key; `before` is the key so far. Raises Unavailable."""
    last, old = before or (None, None)
    announced = Announcement(
        origin,
        last.generation + 1 if last else 1,
        first_checkpoint,
        time_us,
        signer.public,
        text_hash(last.text()) if last else NO_HASH,
    )
    signers = [signer] if old is None else [signer, old]
    return Note(announced.text(), tuple(notes.sign(announced.text(), origin, each) for each in signers))
