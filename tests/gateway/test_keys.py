"""Keys live in one file: made, listed, restricted, imported, revoked by command."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from openbourse.cli.keys import app
from openbourse.contracts.api_keys import line_of
from openbourse.gateway.key_ring import holder_of
from openbourse.gateway.key_text import KeyText
from openbourse.gateway.keys import KeyFileInvalid, create_key, read_keys


def test_a_new_key_is_in_the_file_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    first = create_key(file, account=1001, label="bot")
    second = create_key(file, account=1002)
    assert read_keys(file) == [first, second]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


def test_the_secret_is_shown_by_create_and_by_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    made = CliRunner().invoke(app, ["create", "--file", str(file), "--account", "1001", "--label", "bot"])
    key = read_keys(file)[0]
    assert made.exit_code == 0
    assert key.secret in made.stdout
    listed = CliRunner().invoke(app, ["list", "--file", str(file)])
    assert key.api_key in listed.stdout
    assert key.secret not in listed.output + repr(key) + str(key) + repr(holder_of(key))


def test_a_revoked_key_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = create_key(file, account=1001)
    assert CliRunner().invoke(app, ["revoke", key.api_key, "--file", str(file)]).exit_code == 0
    assert read_keys(file) == []
    again = CliRunner().invoke(app, ["revoke", key.api_key, "--file", str(file)])
    assert (again.exit_code, again.stderr.strip()) == (1, f"openbourse keys: {file} has no key {key.api_key}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Invalid JSON"),
        ('{"keys": [{"api_key": "short"}]}', "keys.0.api_key"),
        ('{"key": []}', "Extra inputs are not permitted"),
    ],
)
def test_a_file_that_holds_no_keys_is_refused_by_place(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text)
    with pytest.raises(KeyFileInvalid, match=problem):
        read_keys(file)


def test_a_file_of_any_layout_is_read_and_then_has_a_key_a_line(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    first = create_key(file, account=1001, addresses=("192.0.2.0/24",))
    document = json.loads(file.read_text())
    for layout in (json.dumps(document), json.dumps(document, indent=2), f" {json.dumps(document)}\n\n"):
        file.write_text(layout)
        assert read_keys(file) == [first]
        second = create_key(file, account=1002)
        assert file.read_bytes() == b'{"keys": [\n%s,\n%s\n]}\n' % (line_of(first), line_of(second))
        assert json.loads(file.read_text())["keys"][1]["account"] == 1002


@pytest.mark.parametrize(
    "lines",
    [
        ['{"keys": [', "KEY", "KEY2", "]}", ""],
        ['{"keys": [', "KEY,", "KEY2,", "]}", ""],
        ['{"keys": [', "KEY,", "", "KEY2", "]"],
        ['{"keys": [', "KEY,", "KEY", "]}", ""],
        ['{"keys": [', "KEY,KEY2", "]}", "{}", ""],
    ],
)
def test_a_file_that_is_nearly_one_is_refused(tmp_path: Path, lines: list[str]) -> None:
    keys = [line_of(create_key(tmp_path / "keys.json", account=account)).decode() for account in (1001, 1002)]
    file = tmp_path / "broken.json"
    file.write_text("\n".join(lines).replace("KEY2", keys[1]).replace("KEY", keys[0]))
    with pytest.raises(KeyFileInvalid):
        read_keys(file)


def test_an_empty_file_of_keys_is_written_as_it_is_read() -> None:
    assert KeyText.parse(KeyText().content()) == KeyText()
    assert json.loads(KeyText().content()) == {"keys": []}


def test_a_problem_with_a_key_never_shows_its_secret(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = create_key(file, account=1001)
    document = json.loads(file.read_text())
    document["keys"][0]["secret"] = key.secret + "\u00e9"
    file.write_text(json.dumps(document))
    with pytest.raises(KeyFileInvalid) as problem:
        read_keys(file)
    assert key.secret not in str(problem.value)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_what_a_key_may_do_from_where_and_until_when_is_said_and_changed(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    create_key(file, account=1002)
    made = run(
        *("create", "--file", file, "--account", 1001, "--label", "bot", "--permission", "TRADE"),
        *("--address", "192.0.2.7", "--address", "2001:DB8::/32", "--expires", "2027-01-01"),
    )
    assert made.exit_code == 0, made.output
    key = read_keys(file)[1]
    assert key.addresses == ("192.0.2.7/32", "2001:db8::/32")
    assert (key.permissions, key.expires) == (("TRADE",), "2027-01-01T00:00:00Z")
    changed = run(
        "restrict", "--file", file, key.api_key, "--any-address", "--expires", "", "--permission", "USER_DATA"
    )
    assert changed.exit_code == 0, changed.output
    after = read_keys(file)[1]
    expected = {"permissions": ("USER_DATA",), "addresses": (), "expires": ""}
    assert after == key.model_copy(update=expected)
    listed = json.loads(run("list", "--file", file, "--account", 1001, "-o", "json").stdout)
    assert [(each["api_key"], each["label"], each["signs_with"]) for each in listed] == [(key.api_key, "bot", "secret")]
    assert "secret" not in listed[0]
    table = run("list", "--file", file).stdout.splitlines()
    assert table[0].split() == [
        "API",
        "KEY",
        "ACCOUNT",
        "SIGNS",
        "WITH",
        "PERMISSIONS",
        "ADDRESSES",
        "EXPIRES",
        "CREATED",
        "LABEL",
    ]
    assert table[-1] == "2 keys"


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        (("--address", "192.0.2.0/33"), "addresses.0: '192.0.2.0/33' is no address or network"),
        (("--address", "192.0.2.1/24"), "has host bits set"),
        (("--address", "a host"), "is no address or network"),
        (("--expires", "tomorrow"), "'tomorrow' is no time such as 2027-01-01"),
        (("--expires", "2027-01-01T00:00:00"), "it has no offset"),
        (("--permission", "WITHDRAW"), "permissions.0: Input should be 'TRADE'"),
        (("--account", "3"), "account: Input should be greater than or equal to 1000"),
    ],
)
def test_what_no_key_can_have_is_refused_with_what_is_allowed(
    tmp_path: Path, option: tuple[str, str], problem: str
) -> None:
    file = tmp_path / "keys.json"
    refused = run("create", "--file", file, *("--account", 1001), *option)
    assert refused.exit_code == 1 and problem in refused.stderr, refused.stderr
    assert not file.exists()
    key = create_key(file, account=1001)
    if option[0] != "--account":
        refused = run("restrict", "--file", file, key.api_key, *option)
        assert refused.exit_code == 1 and problem in refused.stderr, refused.stderr
    assert read_keys(file) == [key]


def test_keys_are_imported_all_or_none(tmp_path: Path) -> None:
    file, other = tmp_path / "keys.json", tmp_path / "other.json"
    first, second = (create_key(other, account=account) for account in (1001, 1002))
    assert run("import", "--file", file, other).exit_code == 0
    assert read_keys(file) == [first, second]
    third = create_key(other, account=1003)
    again = run("import", "--file", file, other)
    assert again.exit_code == 1 and "an api_key is there twice" in again.stderr
    assert third not in read_keys(file)


def test_two_who_write_at_once_both_have_their_key_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    with ThreadPoolExecutor(8) as writers:
        made = list(writers.map(lambda number: create_key(file, account=1000 + number), range(40)))
    assert sorted(key.api_key for key in read_keys(file)) == sorted(key.api_key for key in made)
