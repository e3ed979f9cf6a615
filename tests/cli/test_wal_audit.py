"""`openbourse wal audit` on the log of an earlier release: what it says of orders, epochs and a book."""

import gzip
import json
import subprocess
from pathlib import Path

import pytest

from openbourse.cli.wal_audit import Book, audit
from openbourse.contracts import v1
from openbourse.engine.journal import wal

LOG = Path(__file__).parents[1] / "kernel" / "version_1" / "00000000000000000001.wal.gz"
FILE = LOG.name.removesuffix(".gz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wal")
    (folder / FILE).write_bytes(gzip.decompress(LOG.read_bytes()))
    return folder


def test_a_good_log_has_growing_epochs_contiguous_updates_and_books_that_do_not_cross(folder: Path) -> None:
    found = audit(folder, wal.verify(folder), 1, "o-1", "BTCUSDT")
    assert (found["first_seq"], found["last_seq"], found["damaged"]) == (1, 2974, "")
    assert [epoch for epoch, _ in found["epochs"]] == [3, 6, 9]
    assert found["updates"] > 100
    assert (found["update_gaps"], found["crossed"]) == ([], [])
    assert len(found["states"]) > 10
    assert len(found["orders"]) > 5
    assert all(name.startswith("o-1") for name in found["orders"])


def test_from_the_middle_it_begins_with_the_book_of_then(folder: Path) -> None:
    whole, rest = (audit(folder, wal.verify(folder), from_seq, "", "BTCUSDT") for from_seq in (1, 200))
    assert (rest["first_seq"], rest["update_gaps"], rest["crossed"]) == (200, [], [])
    assert 0 < rest["updates"] < whole["updates"]
    assert rest["chains"].items() <= whole["chains"].items()
    assert rest["states"].items() <= whole["states"].items()


def test_a_log_that_was_spoiled_says_where_and_ends_with_1(folder: Path, tmp_path: Path) -> None:
    content = bytearray((folder / FILE).read_bytes())
    content[len(bytes(content).rstrip(b"\0")) // 2] ^= 1
    (tmp_path / FILE).write_bytes(content)
    words = ["openbourse", "wal", "audit", str(tmp_path), "--symbol", "BTCUSDT"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"{FILE} at offset" in json.loads(done.stdout)["damaged"]


def test_a_gap_and_a_crossed_book_are_seen() -> None:
    book = Book()
    bid = v1.BookDelta(update_id=5, side=v1.Side.SIDE_BUY, price_ticks=10, quantity_lots=1)
    assert (book.take(bid), book.is_crossed) == ("", False)
    ask = v1.BookDelta(update_id=7, side=v1.Side.SIDE_SELL, price_ticks=10, quantity_lots=1)
    assert (book.take(ask), book.is_crossed) == ("7 after 5", True)
    book.opens = False
    assert not book.is_crossed, "orders that an auction collects may cross"
    gone = v1.BookDelta(update_id=8, side=v1.Side.SIDE_BUY, price_ticks=10)
    assert (book.take(gone), book.bids) == ("", {})
