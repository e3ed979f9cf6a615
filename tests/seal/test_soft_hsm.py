"""A SoftHSM token is made once, whole or not at all, with the PIN that was given; and a sealer says how it fares."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from openbourse.ledger.errors import Unavailable
from openbourse.ledger.seal import soft_hsm
from openbourse.ledger.seal.checkpoint import Checkpoint
from openbourse.ledger.seal.metrics import SealMetrics
from openbourse.ledger.seal.progress import SealProgress

pytestmark = pytest.mark.server

# In a process of its own, as the library remembers its first folder: whether the token can be opened, and with what.
OPEN = """
import sys
from openbourse.ledger.seal.token import Token, TokenSettings
token = Token(TokenSettings.from_environment("origin"))
print(token.make_key(1).public.hex())
"""


def environment(folder: Path, pin: str = "one good pin") -> dict[str, str]:
    module = soft_hsm.module()
    assert module is not None, ".ci/install-servers installs SoftHSM"
    file = folder / f"{pin}.pin"
    file.write_text(pin)
    return os.environ | {
        "OPENBOURSE_PKCS11_MODULE": str(module),
        "OPENBOURSE_PKCS11_TOKEN": "seal",
        "OPENBOURSE_PKCS11_PIN_FILE": str(file),
        "SOFTHSM2_CONF": str(folder / "token" / soft_hsm.CONFIGURATION),
    }


def run(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def make(folder: Path, pin: str = "one good pin") -> subprocess.CompletedProcess[str]:
    command = ["-m", "openbourse.ledger.seal", "token", "--folder", str(folder / "token")]
    return run(command, environment(folder, pin))


def test_a_token_is_made_once_and_opens_with_its_pin_alone(tmp_path: Path) -> None:
    # What an attempt before has left half done.
    (tmp_path / "token" / "tokens.new" / "rest").mkdir(parents=True)
    done = make(tmp_path)
    assert done.returncode == 0 and "a token was made" in done.stderr, done.stderr
    assert not (tmp_path / "token" / "tokens.new").exists()
    opened = run(["-c", OPEN], environment(tmp_path))
    assert opened.returncode == 0, opened.stderr
    refused = run(["-c", OPEN], environment(tmp_path, "another pin"))
    assert refused.returncode == 1 and "refuses the PIN" in refused.stderr
    again = make(tmp_path, "another pin")
    assert again.returncode == 0 and "there is a token already" in again.stderr
    assert run(["-c", OPEN], environment(tmp_path)).stdout == opened.stdout


def test_a_pin_that_softhsm_does_not_take_is_said_and_leaves_no_token(tmp_path: Path) -> None:
    done = make(tmp_path, "123")
    assert done.returncode == 1 and "takes a PIN of 4 to 255 characters" in done.stderr, done.stderr
    assert not (tmp_path / "token" / "tokens").exists()


def test_a_sealer_shows_its_last_checkpoint_its_lag_and_what_is_away() -> None:
    progress = SealProgress()
    assert values(progress)["openbourse_seal_checkpoint"] == 0
    progress.reached(Checkpoint("origin", 9, bytes(32), 4, 1_700_000_000_000_000, "ab" * 32, bytes(32), (), ()))
    progress.sealing()
    progress.witness_trouble = "away"
    progress.witnessed = 8
    seen = values(progress)
    assert seen["openbourse_seal_checkpoint"] == 4 and seen["openbourse_seal_leaves"] == 9
    assert seen["openbourse_seal_checkpoint_timestamp_seconds"] == 1_700_000_000
    assert (seen["openbourse_seal_witness_trouble"], seen["openbourse_seal_archive_trouble"]) == (1, 0)
    assert (seen["openbourse_seal_witnessed_leaves"], seen["openbourse_seal_archived_checkpoint"]) == (8, 0)
    assert 0 <= seen["openbourse_seal_lag_seconds"] < 60
    assert seen["openbourse_seal_state sealing"] == 1 and seen["openbourse_seal_state stopped"] == 0
    status = progress.as_json()
    assert status["key"] == "ab" * 32
    age_ms = status["age_ms"]
    assert isinstance(age_ms, int) and age_ms > 1_000_000
    progress.trouble(Unavailable("the token"))
    assert values(progress)["openbourse_seal_state waiting"] == 1


def values(progress: SealProgress) -> dict[str, float]:
    families = text_string_to_metric_families(SealMetrics(progress).text().decode())
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
    }
