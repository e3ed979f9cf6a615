"""Operators set limits of everybody, and exceptions: in a file, by command, read again by a gateway when it changes."""

import asyncio
import contextlib
import datetime
import itertools
import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fixtures.redises import RunningRedis, linked, until
from openbourse.cli.limits import app
from openbourse.contracts.documents import digest
from openbourse.contracts.rate_limits import LimitsDocument
from openbourse.gateway.errors import TooMany
from openbourse.gateway.limits import file as limits_file
from openbourse.gateway.limits.charges import counted_as
from openbourse.gateway.limits.file import LimitsFileInvalid, RulesOfFile, read_limits
from openbourse.gateway.limits.rules import REFUSED_MOST, Limits, Rules
from openbourse.gateway.limits.shared import SCRIPTS
from openbourse.gateway.limits.usage import Usage

LIMITS = Limits(weight_per_minute=60, requests_per_5m=50, orders_per_10s=10, orders_per_day=20)
KEY = "k" * 16


def rules(*overrides: dict[str, object], **defaults: int) -> Rules:
    document = {"defaults": defaults, "overrides": [{"reason": "why", **override} for override in overrides]}
    return Rules(LIMITS, LimitsDocument.model_validate(document))


def test_each_exception_changes_what_it_is_for_and_nothing_else() -> None:
    """Every world of three exceptions, there or not, and of requests that they are for or not."""
    for there in itertools.product((False, True), repeat=3):
        all_three: list[dict[str, object]] = [
            {"address": "192.0.2.0/24", "weightPerMinute": 1},
            {"apiKey": KEY, "requestsPer5m": 2},
            {"account": 1001, "ordersPer10s": 3},
        ]
        made = rules(*itertools.compress(all_three, there))
        for hit in itertools.product((False, True), repeat=3):
            address, api_key, account = (
                "192.0.2.9" if hit[0] else "192.0.3.9",
                KEY if hit[1] else "other",
                1001 if hit[2] else 1002,
            )
            changed = [both == (True, True) for both in zip(there, hit, strict=True)]
            assert made.of(address, api_key, account) == Limits(
                weight_per_minute=1 if changed[0] else 60,
                requests_per_5m=2 if changed[1] else 50,
                orders_per_10s=3 if changed[2] else 10,
                orders_per_day=20,
            )


def test_of_two_networks_the_smaller_one_counts() -> None:
    made = rules(
        {"address": "10.0.0.0/8", "weightPerMinute": 1},
        {"address": "10.1.2.3", "weightPerMinute": 3},
        {"address": "10.1.0.0/16", "weightPerMinute": 2},
        {"address": "2001:db8::/32", "weightPerMinute": 4},
        {"address": "2001:db8:0:7::/64", "weightPerMinute": 5},
    )
    expected = {"10.1.2.3": 3, "10.1.2.4": 2, "10.2.0.1": 1, "11.0.0.1": 60, "2001:db8::1": 4, "2001:db8:0:7::9": 5}
    assert {name: made.of(counted_as(name), "", 0).weight_per_minute for name in expected} == expected
    assert made.is_known("10.2.0.1")
    assert not made.is_known("11.0.0.1")
    assert made.of("", "", 0) == LIMITS


def test_what_is_said_for_everybody_goes_before_what_the_gateway_was_told() -> None:
    assert rules(weightPerMinute=7).defaults == Limits(7, 50, 10, 20)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("no", "the document: Invalid JSON"),
        ('{"limits": 1}', "limits: Extra inputs are not permitted"),
        ('{"defaults": {"weightPerMinute": -1}}', "defaults.weightPerMinute: Input should be greater than or equal"),
        ('{"overrides": [{"reason": "r", "ordersPer10s": 1}]}', "exactly one of account, apiKey and address"),
        (
            '{"overrides": [{"reason": "r", "account": 1001, "address": "10.0.0.1", "ordersPer10s": 1}]}',
            "exactly one of account, apiKey and address",
        ),
        ('{"overrides": [{"reason": "r", "account": 1001}]}', "says ordersPer10s or ordersPerDay"),
        (
            '{"overrides": [{"reason": "r", "address": "10.0.0.1", "ordersPer10s": 1}]}',
            "an override for address says weightPerMinute, and nothing else",
        ),
        ('{"overrides": [{"account": 1001, "ordersPer10s": 1}]}', "overrides.0.reason: Field required"),
        ('{"overrides": [{"reason": "r", "account": 999, "ordersPer10s": 1}]}', "overrides.0.account: Input should be"),
        (
            '{"overrides": [{"reason": "r", "address": "10.0.0.1/8", "weightPerMinute": 1}]}',
            "is no address or network such as 192.0.2.7 or 192.0.2.0/24",
        ),
        (
            '{"overrides": [{"reason": "r", "address": "2001:db8::5", "weightPerMinute": 1}]}',
            "network of 64 bits: say 2001:db8::/64",
        ),
        (
            '{"overrides": [{"reason": "r", "account": 1001, "ordersPer10s": 1, "until": "2026-12-01T00:00:00"}]}',
            "overrides.0.until: it says no zone",
        ),
        (
            '{"overrides": [{"reason": "r", "account": 1001, "ordersPer10s": 1},'
            ' {"reason": "s", "account": 1001, "ordersPerDay": 1}]}',
            "overrides: account 1001 is there twice",
        ),
    ],
)
def test_a_file_that_says_nothing_a_gateway_could_take_is_refused_with_a_sentence(
    tmp_path: Path, document: str, problem: str
) -> None:
    file = tmp_path / "limits.json"
    file.write_text(document)
    with pytest.raises(LimitsFileInvalid) as refused:
        read_limits(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert problem in str(refused.value)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_limits_are_set_listed_and_removed_by_command(tmp_path: Path) -> None:
    file = str(tmp_path / "limits.json")
    assert run("set", "--file", file, "--weight-per-minute", "6000").exit_code == 0
    assert run("set", "--file", file, "--orders-per-10s", "100").exit_code == 0
    account = ["--account", "1001", "--reason", "market maker"]
    assert run("set", "--file", file, *account, "--orders-per-day", "9").exit_code == 0
    assert run("set", "--file", file, *account, "--orders-per-10s", "5000").exit_code == 0
    abuse = ["--address", "192.0.2.0/24", "--weight-per-minute", "0", "--reason", "abuse"]
    assert run("set", "--file", file, *abuse).exit_code == 0
    listed = run("list", "--file", file).output.splitlines()
    assert listed == [
        "everybody  weight_per_minute 6000  orders_per_10s 100",
        "account 1001  orders_per_10s 5000  market maker",
        "address 192.0.2.0/24  weight_per_minute 0  abuse",
        "2 exceptions",
    ]
    assert json.loads(Path(file).read_text())["overrides"][0] == {
        "account": 1001,
        "ordersPer10s": 5000,
        "reason": "market maker",
    }
    assert run("remove", "--file", file, "--account", "1001").output.endswith("1 exceptions\n")
    again = run("remove", "--file", file, "--account", "1001")
    assert (again.exit_code, "has no override for account 1001" in again.output) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "say a limit"),
        (["--reason", "r", "--weight-per-minute", "1"], "say a limit, and no reason, for all"),
        (["--account", "1001", "--orders-per-10s", "1"], "reason: String should have at least 1 character"),
        (["--account", "1001", "--api-key", KEY, "--reason", "r"], "exactly one of"),
        (["--address", "here", "--weight-per-minute", "1", "--reason", "r"], "'here' is no address"),
        (["--account", "1001", "--weight-per-minute", "1", "--reason", "r"], "says ordersPer10s or ordersPerDay"),
        (["--weight-per-minute", "-1"], "greater than or equal to 0"),
    ],
)
def test_a_command_that_says_nonsense_changes_nothing(tmp_path: Path, arguments: list[str], problem: str) -> None:
    file = tmp_path / "limits.json"
    refused = run("set", "--file", str(file), *arguments)
    assert refused.exit_code == 1
    assert problem in refused.output
    assert not file.exists()


async def test_a_changed_file_is_taken_and_an_invalid_one_leaves_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits_file, "CHECK_EVERY_S", 0.01)
    file = tmp_path / "limits.json"
    file.write_text("{}")
    of_file = RulesOfFile(LIMITS, file)
    usage = Usage(of_file)
    running = asyncio.create_task(of_file.run())
    assert usage.limits == LIMITS
    run("set", "--file", str(file), "--weight-per-minute", "7")
    await until(lambda: usage.limits.weight_per_minute == 7)
    file.write_text("{")
    await until(lambda: bool(of_file.trouble))
    file.unlink()
    await until(lambda: "No such file" in of_file.trouble)
    assert usage.limits.weight_per_minute == 7
    assert caplog.text.count("limits are as they were") == 2
    file.write_text('{"defaults": {"weightPerMinute": 8}}')
    await until(lambda: usage.limits.weight_per_minute == 8)
    assert not of_file.trouble
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_of_two_files_the_first_counts_and_each_is_read_again_whatever_becomes_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_file, "CHECK_EVERY_S", 0.01)
    first, second = tmp_path / "objects.json", tmp_path / "limits.json"

    def text(orders: int) -> str:
        return json.dumps({"overrides": [{"reason": "r", "account": 1001, "ordersPer10s": orders}]})

    first.write_text("{}")
    second.write_text(text(5))
    of_files = RulesOfFile(LIMITS, first, second)
    running = asyncio.create_task(of_files.run())

    def orders() -> int:
        return of_files.rules.of("", "", 1001).orders_per_10s

    assert orders() == 5
    first.write_text(text(6))
    await until(lambda: orders() == 6)
    second.write_text("{")
    await until(lambda: bool(of_files.trouble))
    assert of_files.trouble.startswith(str(second))
    first.write_text("{}")
    await until(lambda: orders() == 5)
    assert of_files.digests() == {str(first): digest(b"{}"), str(second): digest(text(5).encode())}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_exception_ends_at_its_time_by_the_gateways_own_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_file, "CHECK_EVERY_S", 0.01)
    file = tmp_path / "limits.json"
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=0.5)
    times = {1001: ends, 1002: ends - datetime.timedelta(hours=1), 1003: ends + datetime.timedelta(hours=1)}
    exceptions = [
        {"reason": "r", "account": account, "ordersPer10s": 3, "until": time_.isoformat()}
        for account, time_ in times.items()
    ]
    file.write_text(json.dumps({"overrides": exceptions}))
    of_file = RulesOfFile(LIMITS, file)
    running = asyncio.create_task(of_file.run())

    def held() -> set[int]:
        return {account for account in times if of_file.rules.of("", "", account).orders_per_10s == 3}

    assert held() == {1001, 1003}
    await until(lambda: held() == {1003})
    assert datetime.datetime.now(datetime.UTC) >= ends
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.server
@pytest.mark.parametrize("shared", [False, True], ids=["here", "in Redis"])
async def test_who_has_an_exception_is_never_banned_and_a_ban_ends_with_it(
    tmp_path: Path, redis: RunningRedis, shared: bool
) -> None:
    file = tmp_path / "limits.json"
    file.write_text('{"defaults": {"weightPerMinute": 1}}')
    of_file = RulesOfFile(Limits(), file)
    reading = asyncio.create_task(of_file.run())
    async with linked(redis.known_as, SCRIPTS) as link:
        usage = Usage(of_file, link if shared else None)

        async def refused() -> int | None:
            charge = usage.begin("192.0.2.1", time.time_ns() // 1000)
            try:
                await usage.settle(charge)
            except TooMany as too_many:
                return too_many.status
            return None

        while await refused() != 418:
            pass
        run("set", "--file", str(file), "--address", "192.0.2.1", "--weight-per-minute", "500", "--reason", "ours")
        await until(lambda: of_file.rules.overrides == 1)
        assert await refused() is None
        run("set", "--file", str(file), "--address", "192.0.2.1", "--weight-per-minute", "0", "--reason", "not ours")
        await until(lambda: of_file.rules.of("192.0.2.1", "", 0).weight_per_minute == 0)
        assert {await refused() for _ in range(REFUSED_MOST + 5)} == {429}
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
