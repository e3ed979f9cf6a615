"""A running gateway's keys: taken up when the file changes, kept when it became invalid, good from where and while they
are."""

import asyncio
import datetime
import time
from pathlib import Path

import pytest

from fixtures.websocket_apis import ed25519, public_pem
from openbourse.contracts.api_keys import PublicApiKey, file_of, file_of_public_keys, line_of
from openbourse.contracts.documents import digest
from openbourse.gateway.errors import Invalid
from openbourse.gateway.key_ring import KeyRing
from openbourse.gateway.keys import Key, create_key, import_keys, restrict_key, revoke_key

HERE = "192.0.2.7"
NOW_US = 1_800_000_000_000_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def code(ring: KeyRing, api_key: str, address: str = HERE, now_us: int = NOW_US) -> int:
    with pytest.raises(Invalid) as refused:
        ring.holder(api_key, address, now_us)
    assert refused.value.status == 401
    return refused.value.code


async def test_a_running_gateway_takes_up_what_changed(file: Path) -> None:
    first = create_key(file, account=1001)
    ring = KeyRing(file)
    second = create_key(file, account=1002)
    await ring.look()
    kept = ring.holder(second.api_key, HERE, NOW_US)
    assert (kept.account, ring.version, len(ring)) == (1002, 1, 2)
    revoke_key(file, first.api_key)
    await ring.look()
    assert code(ring, first.api_key) == -2015
    # Not read anew: it has not changed.
    assert ring.holder(second.api_key, HERE, NOW_US) is kept
    await ring.look()
    assert ring.version == 2


def test_a_file_that_became_invalid_changes_nothing_but_what_is_said(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = create_key(file, account=1001)
    ring = KeyRing(file)
    content = file.read_bytes()
    for broken in (b"{", content + b"{}", content.replace(b'"account"', b'"acount"')):
        file.write_bytes(broken)
        for _ in range(3):
            asyncio.run(ring.look())
        assert ring.holder(key.api_key, HERE, NOW_US).account == 1001
        assert str(file) in ring.trouble
        assert key.secret not in ring.trouble + caplog.text
    assert caplog.text.count("could not be read again") == 3
    file.unlink()
    asyncio.run(ring.look())
    assert ring.holder(key.api_key, HERE, NOW_US).account == 1001
    assert "No such file" in ring.trouble
    file.write_bytes(content)
    asyncio.run(ring.look())
    assert (ring.trouble, ring.version) == ("", 1)


def test_a_key_that_is_there_twice_is_refused(file: Path) -> None:
    create_key(file, account=1001)
    line = file.read_bytes().split(b"\n")[1]
    for second in (line, line.replace(b"1001", b"1002")):
        file.write_bytes(b'{"keys": [\n' + line + b",\n" + second + b"\n]}\n")
        with pytest.raises(ValueError, match=r"keys\.1: its api_key is there twice"):
            KeyRing(file)


def a_public_key(name: str = "p", account: int = 1005, **terms: object) -> PublicApiKey:
    said = {"api_key": name * 20, "account": account, "created": "2026-11-29", "public_key": public_pem(ed25519())}
    return PublicApiKey.model_validate(said | terms)


async def test_of_several_files_each_is_taken_up_for_itself(file: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    own, shared = create_key(file, account=1001), a_public_key("s", 1002)
    first.write_bytes(file_of_public_keys([a_public_key()]))
    second.write_bytes(file_of_public_keys([shared, a_public_key("q", 1003)]))
    ring = KeyRing(file, None, [first, second])
    assert [ring.holder(key, HERE, NOW_US).account for key in (own.api_key, "p" * 20, "q" * 20)] == [1001, 1005, 1003]
    assert ring.digests() == {str(each): digest(each.read_bytes()) for each in (first, second)}
    # The first file has the key too from now on, and is asked before the second; of the last one nothing changed.
    first.write_bytes(file_of_public_keys([shared.model_copy(update={"account": 1009})]))
    await ring.look()
    assert (ring.holder("s" * 20, HERE, NOW_US).account, len(ring), ring.version) == (1009, 3, 1)
    assert code(ring, "p" * 20) == -2015
    # One that became invalid keeps what it had, and no other from being read.
    first.write_bytes(b"{")
    second.write_bytes(file_of_public_keys([]))
    await ring.look()
    assert ring.holder("s" * 20, HERE, NOW_US).account == 1009
    assert code(ring, "q" * 20) == -2015
    assert str(first) in ring.trouble and str(second) not in ring.trouble
    assert ring.digests()[str(second)] == digest(file_of_public_keys([]))
    # A key of the last file is nobody else's, whatever the others say.
    second.write_bytes(file_of_public_keys([a_public_key(account=1006, api_key=own.api_key)]))
    await ring.look()
    assert ring.holder(own.api_key, HERE, NOW_US).account == 1001


def test_a_file_before_the_last_has_public_keys_alone(file: Path, tmp_path: Path) -> None:
    create_key(file, account=1001)
    before = tmp_path / "before.json"
    sealed = line_of(a_public_key())[:-1] + b',"sealed":"AAAA"}'
    seal = b'"sealed": {"key": "k", "data_key": "' + b"A" * 80 + b'"}, '
    for content, sentence in (
        (file.read_bytes(), r"keys\.0: it has no public_key"),
        (file_of([sealed]), r"keys\.0: it is sealed, and the file does not say under what"),
        (file_of([line_of(a_public_key())], seal), "it is sealed, and a --keys before the last one"),
    ):
        before.write_bytes(content)
        with pytest.raises(ValueError, match=sentence):
            KeyRing(file, None, [before])
    file.write_bytes(file_of([sealed]))
    with pytest.raises(ValueError, match="it is sealed, and the file does not say under what"):
        KeyRing(file)


@pytest.mark.parametrize("api_key", ["", "short", "x" * 65, "key with spaces!"])
def test_what_has_not_the_form_of_a_key_is_refused(file: Path, api_key: str) -> None:
    create_key(file, account=1001)
    assert code(KeyRing(file), api_key) == -2014


async def test_a_key_is_good_from_its_addresses_alone(file: Path) -> None:
    key = create_key(file, account=1001, addresses=("192.0.2.0/29", "2001:db8::/32"))
    ring = KeyRing(file)
    for address in (HERE, "192.0.2.0", "::ffff:192.0.2.7", "2001:db8::1"):
        assert ring.holder(key.api_key, address, NOW_US).account == 1001
    for address in ("192.0.2.8", "::ffff:192.0.2.8", "2001:db9::1", "::192.0.2.7", "", "unknown"):
        assert code(ring, key.api_key, address) == -2015
    restrict_key(file, key.api_key, addresses=())
    await ring.look()
    assert ring.holder(key.api_key, "192.0.2.8", NOW_US).account == 1001


async def test_a_key_ends_at_its_time(file: Path) -> None:
    key = create_key(file, account=1001, expires="2027-01-15T08:00:00Z")
    ring = KeyRing(file)
    assert ring.holder(key.api_key, HERE, NOW_US - 1).account == 1001
    assert code(ring, key.api_key, now_us=NOW_US) == -2015


async def test_who_hears_is_looked_at_again_when_a_key_ends(file: Path) -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1.5)
    create_key(file, account=1001)
    create_key(file, account=1002, expires=soon.isoformat())
    ring = KeyRing(file)
    await ring.look()
    assert ring.version == 0
    await asyncio.sleep(1.6)
    await ring.look()
    assert ring.version == 1


@pytest.mark.alone
async def test_ten_thousand_keys_are_read_while_requests_go_on(file: Path) -> None:
    """Of the time that the loop stood the median: a busy machine stops it too."""
    made = [_key(number) for number in range(10_000)]
    import_keys(file, made[:1])
    ring = KeyRing(file)
    import_keys(file, made[1:])
    reading = asyncio.create_task(ring.look())
    stood_ms: list[float] = []
    while not reading.done():
        began = time.perf_counter()
        await asyncio.sleep(0)
        stood_ms.append((time.perf_counter() - began) * 1000)
    assert len(ring) == 10_000
    stood_ms.sort()
    assert stood_ms[len(stood_ms) * 99 // 100] < 20, f"p99 {stood_ms[len(stood_ms) * 99 // 100]} ms, {stood_ms[-1]} ms"


def _key(number: int) -> Key:
    return Key(api_key=f"{number:064}", secret=f"{number:064}", account=1000 + number, created="2026-11-29T00:00:00Z")
