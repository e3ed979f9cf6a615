"""Keys live in one file: made, listed, revoked by command, and taken up by a running gateway."""

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from openbourse.cli.keys import app
from openbourse.gateway import keys
from openbourse.gateway.errors import Invalid
from openbourse.gateway.keys import KeyFileInvalid, KeyRing, create_key, read_keys, revoke_key


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
    assert key.secret not in listed.output + repr(key) + str(key) + repr(KeyRing(file).holder(key.api_key))


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


def test_a_problem_with_a_key_never_shows_its_secret(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = create_key(file, account=1001)
    document = json.loads(file.read_text())
    document["keys"][0]["secret"] = key.secret + "\u00e9"
    file.write_text(json.dumps(document))
    with pytest.raises(KeyFileInvalid) as problem:
        read_keys(file)
    assert key.secret not in str(problem.value)


def test_a_running_gateway_takes_up_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "CHECK_EVERY_S", 0)
    file = tmp_path / "keys.json"
    first = create_key(file, account=1001)
    ring = KeyRing(file)
    second = create_key(file, account=1002)
    assert ring.holder(second.api_key).account == 1002
    revoke_key(file, first.api_key)
    with pytest.raises(Invalid) as refused:
        ring.holder(first.api_key)
    assert (refused.value.code, refused.value.status) == (-2015, 401)


def test_a_file_that_became_invalid_changes_nothing_but_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keys, "CHECK_EVERY_S", 0)
    file = tmp_path / "keys.json"
    key = create_key(file, account=1001)
    ring = KeyRing(file)
    file.write_text("{")
    assert ring.holder(key.api_key).account == 1001
    assert "could not be read again" in caplog.text
    file.unlink()
    assert ring.holder(key.api_key).account == 1001


@pytest.mark.parametrize("api_key", ["", "short", "x" * 65, "key with spaces!"])
def test_what_has_not_the_form_of_a_key_is_refused(tmp_path: Path, api_key: str) -> None:
    file = tmp_path / "keys.json"
    create_key(file, account=1001)
    with pytest.raises(Invalid) as refused:
        KeyRing(file).holder(api_key)
    assert (refused.value.code, refused.value.message) == (-2014, "API-key format invalid.")
