"""Checkpoints, signed notes and the chain of keys: what is read is what was signed by whose turn it was, or refused."""

import dataclasses
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fixtures.seals import MemoryKey
from fixtures.tokens import ORIGIN
from openbourse.ledger.errors import Diverged, Invalid
from openbourse.ledger.seal import notes
from openbourse.ledger.seal.checkpoint import NO_HASH, Checkpoint, ShardEnd, Total, batch_leaf, parse, require_origin
from openbourse.ledger.seal.keychain import KeyChain, announce, follow, parse_announcement
from openbourse.ledger.seal.notes import Note, WitnessKey, key_hash

FIRST, SECOND, THIRD, STRANGER = (MemoryKey() for _ in range(4))
ANNOUNCED_FIRST = announce(ORIGIN, 10, FIRST, None, 1)
ANNOUNCED_SECOND = announce(ORIGIN, 20, SECOND, (parse_announcement(ANNOUNCED_FIRST.text), FIRST), 5)
ANNOUNCED_THIRD = announce(ORIGIN, 30, THIRD, (parse_announcement(ANNOUNCED_SECOND.text), SECOND), 9)
SECOND_TEXT = ANNOUNCED_SECOND.text
BOTH = [ANNOUNCED_FIRST, ANNOUNCED_SECOND]
CHAIN = follow(FIRST.public, [ANNOUNCED_FIRST, ANNOUNCED_SECOND])


def checkpoint(**changes: Any) -> Checkpoint:
    plain = Checkpoint(
        ORIGIN, 3, bytes(range(32)), 1, 1_700_000_000_000_000, key_hash(FIRST.public), NO_HASH,
        (ShardEnd("a b", 1, 7), ShardEnd("main", 2, 9)),
        (Total("main", "BTC", 49, 0, 1, -50), Total("main", "US DT", 100, 200, 2, -302)),
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)


def signed(what: Checkpoint, *keys: MemoryKey) -> Note:
    return Note(what.text(), tuple(notes.sign(what.text(), ORIGIN, key) for key in keys))


def test_a_checkpoint_is_a_note_of_the_transparency_logs_with_lines_of_ours() -> None:
    text = checkpoint().text()
    assert text == (
        "exchange.example/ledger\n3\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nnumber 1\n"
        f"time_us 1700000000000000\nkey {key_hash(FIRST.public)}\n"
        "previous AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
        "shard a%20b 1 7\nshard main 2 9\ntotal main BTC 49 0 1 -50\ntotal main US%20DT 100 200 2 -302\n"
    )
    assert parse(text) == checkpoint()
    assert checkpoint().liabilities() == {"BTC": 49, "US DT": 300}
    assert [total.sum for total in checkpoint().totals] == [0, 0]


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("number 1\n", ""),
        ("number 1\n", "number 01\n"),
        ("number 1\n", "number 1 \n"),
        ("number 1\n", "number 1_0\n"),
        ("number 1\n", "number -1\n"),
        ("\n3\n", "\n+3\n"),
        ("\n3\n", "\n99999999999999999999\n"),
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9="),
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "AAEC"),
        ("shard a%20b 1 7\nshard main 2 9\n", "shard main 2 9\nshard a%20b 1 7\n"),
        ("shard main 2 9\n", "shard main 2 9\nshard main 2 9\n"),
        ("shard a%20b", "shard %61%20b"),
        ("total main BTC 49 0 1 -50\n", "total main BTC 49 0 1\n"),
        ("-302\n", "-302\nnote anything\n"),
        ("-302\n", "-302"),
    ],
)
def test_a_checkpoint_that_is_not_written_as_one_is_refused(was: str, becomes: str) -> None:
    text = checkpoint().text()
    assert was in text
    with pytest.raises(Invalid, match="no checkpoint of a ledger"):
        parse(text.replace(was, becomes))


def test_each_byte_of_a_signed_note_counts() -> None:
    data = str(signed(checkpoint(), FIRST)).encode()
    assert CHAIN.checkpoint(notes.parse(data)) == checkpoint()
    for at in range(len(data)):
        forged = data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :]
        with pytest.raises((Invalid, Diverged)):
            CHAIN.checkpoint(notes.parse(forged))


def test_signatures_of_strangers_are_left_alone_and_a_false_one_of_ours_spoils_the_note() -> None:
    note = signed(checkpoint(), STRANGER, FIRST)
    assert CHAIN.checkpoint(notes.parse(str(note))) == checkpoint()
    with pytest.raises(Diverged, match="no valid signature"):
        CHAIN.checkpoint(signed(checkpoint(), STRANGER))
    other = notes.sign("other\n", ORIGIN, FIRST)
    with pytest.raises(Diverged, match="no valid signature"):
        CHAIN.checkpoint(note.with_signatures(other))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff\n\n", "UTF-8"),
        (b"a\n\nb\n", "an em dash"),
        (b"a\n", "an empty line"),
        (b"a\tb\n\n\xe2\x80\x94 x AAAAAAAA\n", "control characters"),
        (b"a\n\n\xe2\x80\x94 x AAAA\n", "no signature"),
        (b"a\n\n\xe2\x80\x94 x+y AAAAAAAA\n", "no signature"),
        (b"a\n\n\xe2\x80\x94 x AAAAAAA\n", "base64"),
        (b"a\n\n\xe2\x80\x94 x AAAAAAAA", "an empty line"),
        (b"a\n\n" + b"\xe2\x80\x94 x AAAAAAAA\n" * 17, "at most 16 signatures"),
        (b"a" * 300_000 + b"\n\n\xe2\x80\x94 x AAAAAAAA\n", "at most 262144 bytes"),
    ],
)
def test_what_is_no_note_is_refused_with_what_is_wrong(data: bytes, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        notes.parse(data)


def test_each_key_signs_from_its_first_checkpoint_until_the_next_ones() -> None:
    chain = CHAIN.extended(ANNOUNCED_THIRD)
    keys = [FIRST] * 4 + [SECOND] * 4 + [THIRD] * 2
    for number, due in enumerate(keys, start=1):
        for key in (FIRST, SECOND, THIRD, STRANGER):
            note = signed(checkpoint(number=number, key=key_hash(key.public)), key)
            if key is due:
                assert chain.checkpoint(note).number == number
            else:
                with pytest.raises(Diverged, match=f"checkpoint {number} says key .* but key "):
                    chain.checkpoint(note)
    with pytest.raises(Diverged, match="no valid signature"):
        chain.checkpoint(signed(checkpoint(number=5, key=key_hash(SECOND.public)), FIRST))
    with pytest.raises(Diverged, match=r"is of other\.example, not of exchange"):
        chain.checkpoint(signed(checkpoint(origin="other.example"), FIRST))


def _resigned(note: Note, was: str, becomes: str, *keys: MemoryKey) -> Note:
    text = note.text.replace(was, becomes)
    assert text != note.text
    return Note(text, tuple(notes.sign(text, ORIGIN, key) for key in keys))


@pytest.mark.parametrize(
    ("announced", "why"),
    [
        ([], "no key is announced"),
        ([ANNOUNCED_SECOND], "the first key there is"),
        ([announce(ORIGIN, 10, FIRST, None, 2)], "does not begin a chain"),
        ([ANNOUNCED_FIRST, ANNOUNCED_FIRST], "expected generation 2"),
        ([ANNOUNCED_FIRST, ANNOUNCED_THIRD], "expected generation 2"),
        ([ANNOUNCED_FIRST, Note(SECOND_TEXT, ANNOUNCED_SECOND.signatures[:1])], "not signed by the key before"),
        ([ANNOUNCED_FIRST, Note(SECOND_TEXT, ANNOUNCED_SECOND.signatures[1:])], "not signed by the key that"),
        ([ANNOUNCED_FIRST, _resigned(ANNOUNCED_SECOND, "us 20", "us 21", SECOND, STRANGER)], "by the key before"),
        ([ANNOUNCED_FIRST, _resigned(ANNOUNCED_SECOND, "time_us 20", "time_us 9", SECOND, FIRST)], "does not follow"),
        ([ANNOUNCED_FIRST, _resigned(ANNOUNCED_SECOND, "previous ", "previous AA", SECOND, FIRST)], "no announcement"),
        (
            [*BOTH, _resigned(ANNOUNCED_THIRD, "checkpoint 9", "checkpoint 4", THIRD, SECOND)],
            "takes checkpoints from a key",
        ),
        ([ANNOUNCED_FIRST, _resigned(ANNOUNCED_SECOND, "ion 2", "ion 02", SECOND, FIRST)], "no announcement"),
    ],
)  # fmt: skip
def test_a_key_that_the_one_before_did_not_announce_is_refused(announced: list[Note], why: str) -> None:
    with pytest.raises((Invalid, Diverged), match=why):
        follow(FIRST.public, announced)


def test_the_key_to_trust_is_given_and_not_read() -> None:
    other = announce(ORIGIN, 10, STRANGER, None, 1)
    assert isinstance(follow(STRANGER.public, [other]), KeyChain)
    with pytest.raises(Diverged, match="which was given as the one to trust"):
        follow(FIRST.public, [other])


def test_a_witness_countersigns_with_a_time_and_each_byte_counts() -> None:
    private = Ed25519PrivateKey.generate()
    key = WitnessKey("witness.example", private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    assert WitnessKey.parse(f"{key}\n") == key
    note = signed(checkpoint(), FIRST)
    line = notes.cosign(note, "witness.example", private, 1_700_000_000)
    assert key.cosigned_at(note) is None
    assert key.cosigned_at(note.with_signatures(line)) == 1_700_000_000
    for at in range(len(line.value)):
        value = line.value[:at] + bytes([line.value[at] ^ 1]) + line.value[at + 1 :]
        assert key.cosigned_at(note.with_signatures(dataclasses.replace(line, value=value))) is None
    for change in (line.value[:-1], line.value + b"x", b""):
        assert key.cosigned_at(note.with_signatures(dataclasses.replace(line, value=change))) is None
    assert key.cosigned_at(signed(checkpoint(size=4), FIRST).with_signatures(line)) is None
    for text in (str(key)[:-1], str(key).replace("+", " "), f"x{key}"):
        with pytest.raises(Invalid):
            WitnessKey.parse(text)


def test_a_leaf_says_which_batch_it_is() -> None:
    head = bytes(32)
    leaves = {batch_leaf(shard, batch, head) for shard in ("a", "ab", "") for batch in (1, 2, 256)}
    assert len(leaves) == 9 and batch_leaf("a", 1, head) != batch_leaf("a", 1, b"\x01" * 32)


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\nb", "x" * 201])
def test_an_origin_that_a_note_cannot_carry_is_refused(origin: str) -> None:
    with pytest.raises(Invalid, match="without spaces and plus signs"):
        require_origin(origin)


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PUBLIC KEY-----\n"])
def test_what_is_no_key_of_the_seal_is_refused(pem: bytes) -> None:
    with pytest.raises(Invalid):
        notes.p256_from_pem(pem)
    ed25519 = Ed25519PrivateKey.generate().public_key()
    with pytest.raises(Invalid, match=r"P-256"):
        notes.p256_from_pem(ed25519.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(Invalid, match=r"P-256"):
        notes.p256(ed25519.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
