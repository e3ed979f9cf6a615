"""The house is as the plan says: these are facts about files, not about what they do."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from openbourse.contracts import v1

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "workloads" / "contracts"
PORTIONS = ("operator", "ledger", "workloads/contracts", "workloads/engine", "workloads/gateway", "workloads/cli")
TOP_LEVEL = {
    *("operator", "crds", "workloads", "ledger", "charts", "gitops", "runbooks", "tests", "pyproject.toml"),
    *(".ci", "docs", "tasks", "README.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "Dockerfile", ".dockerignore"),
    *("uv.lock", ".gitignore"),
}


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(line) for line in listing.stdout.splitlines()]


def test_the_top_level_has_the_fixed_names() -> None:
    assert {path.parts[0] for path in tracked()} <= TOP_LEVEL


@pytest.mark.parametrize("portion", PORTIONS)
def test_no_folder_above_a_component_is_a_package(portion: str) -> None:
    """`operator/__init__.py` would shadow Python's own operator; any other would break the shared namespace."""
    for folder in (ROOT / portion, ROOT / portion / "openbourse", ROOT / portion.split("/", maxsplit=1)[0]):
        assert not (folder / "__init__.py").exists(), folder


def test_no_folder_of_tests_is_a_package() -> None:
    assert not [path for path in tracked() if path.parts[0] == "tests" and path.name == "__init__.py"]


def test_modules_say_what_they_are() -> None:
    silent = [
        str(path)
        for path in tracked()
        if path.suffix == ".py"
        and not path.name.endswith("_pb2.py")
        and not (ROOT / path).read_text().startswith(('"""', "#!"))
    ]
    assert silent == []


def test_names_say_what_is_inside() -> None:
    vague = re.compile(r"^(utils?|helpers?|common|misc|manager|base)\.(py|rs)$")
    assert [str(path) for path in tracked() if vague.match(path.name)] == []


def test_only_the_binding_knows_python() -> None:
    manifests = (ROOT / "workloads/engine/crates").glob("*/Cargo.toml")
    assert [path.parent.name for path in manifests if "pyo3" in path.read_text()] == ["binding"]


@pytest.mark.parametrize("crate", ["heartbeat", "journal", "matching"])
def test_pure_crates_have_no_unsafe_code(crate: str) -> None:
    source = (ROOT / "workloads/engine/crates" / crate / "src/lib.rs").read_text()
    assert "#![forbid(unsafe_code)]" in source


def test_the_messages_are_generated_from_their_source(tmp_path: Path) -> None:
    subprocess.run(
        ["buf", "generate", CONTRACTS, "--template", CONTRACTS / "buf.gen.yaml", "--output", tmp_path],
        cwd=ROOT,
        check=True,
        timeout=60,
    )
    generated = sorted((tmp_path / "openbourse/contracts/v1").iterdir())
    assert generated
    for file in generated:
        assert (CONTRACTS / "openbourse/contracts/v1" / file.name).read_text() == file.read_text(), "make regen"


def test_every_message_can_be_imported_from_one_place() -> None:
    for source in sorted((CONTRACTS / "openbourse/contracts/v1").glob("*.proto")):
        for name in re.findall(r"^(?:message|enum) (\w+)", source.read_text(), re.MULTILINE):
            assert hasattr(v1, name), f"{name} of {source.name} is missing in contracts/v1/__init__.py"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("uint64 seq = 4;", "uint32 seq = 4;"),
        ("uint64 seq = 4;", "uint64 seq = 44;"),
        ("TradeExecuted trade_executed = 24;", ""),
    ],
)
def test_a_breaking_change_of_a_message_is_refused(tmp_path: Path, before: str, after: str) -> None:
    copy = tmp_path / "contracts"
    shutil.copytree(CONTRACTS, copy)
    against = ["buf", "breaking", str(copy), "--against", str(CONTRACTS / "baseline.binpb")]
    assert subprocess.run(against, check=False, timeout=60).returncode == 0
    source = copy / "openbourse/contracts/v1/event.proto"
    assert before in source.read_text()
    source.write_text(source.read_text().replace(before, after))
    assert subprocess.run(against, check=False, timeout=60, capture_output=True).returncode == 100


def test_every_alert_has_its_runbook() -> None:
    """There are no alerts yet; a rule that comes without its page fails here."""
    rules = [path for path in tracked() if path.suffix in {".yaml", ".yml"} and path.parts[0] in {"charts", "gitops"}]
    alerts = {name for path in rules for name in re.findall(r"^\s*- alert: (\w+)", (ROOT / path).read_text(), re.M)}
    assert {name for name in alerts if not (ROOT / "runbooks" / f"{name}.md").exists()} == set()
