"""What clients were told becomes facts: pauses, shares of errors, and what of it a log has."""

from typing import Any

import pytest

from openbourse.operator.rehearsals.acknowledgements import Acknowledgements, compared, compared_together
from openbourse.operator.rehearsals.cutting import counted, table

AUDIT = {
    "first_seq": 1,
    "last_seq": 9,
    "damaged": "",
    "epochs": [[3, 1], [4, 7]],
    "chains": {"9": "aa"},
    "states": {},
    "update_gaps": [],
    "crossed": [],
    "updates": 4,
}


def heard(*at_ms: int) -> Acknowledgements:
    found = Acknowledgements()
    for number, at in enumerate(at_ms):
        found.acknowledged(f"r-{number}", number + 1, at)
    return found


def test_the_timeline_and_its_pauses() -> None:
    facts = heard(0, 10, 20, 420, 430, 1_430).facts(2_000, 420)
    assert facts.acknowledged_per_bucket == (3, 0, 0, 0, 2, *(0,) * 9, 1, *(0,) * 6)
    assert [(pause.from_ms, pause.to_ms) for pause in facts.pauses] == [(20, 420), (430, 1_430)]
    assert (facts.acknowledged, facts.acknowledged_after) == (6, 3)
    assert heard(5).facts(10, None).acknowledged_after == 0, "of a fault that never was nothing is after it"


def test_how_long_acknowledgements_took_is_told_apart_by_when_orders_were_sent() -> None:
    found = Acknowledgements()
    for number in range(300):
        sent_ms = number * 10
        found.acknowledged(f"r-{number}", number, sent_ms + (200 if 1_000 <= sent_ms < 2_000 else 5), sent_ms)
    facts = found.facts(3_000, lifted_ms=2_000, asked_ms=1_000)
    told = [(each.orders, each.p50_ms, each.p99_ms) for each in (facts.took_before, facts.took_during) if each]
    assert told == [(100, 5, 5), (100, 200, 200)]
    assert facts.took_after is not None
    assert (facts.took_after.orders, facts.took_after.p99_ms) == (100, 5)
    assert found.facts(3_000, None).took_before is None, "of a fault that never was nothing is before it"


def test_a_share_of_errors_is_of_the_last_seconds_and_of_enough_answers() -> None:
    found = heard(*range(0, 1_000, 100))
    for at_ms in range(1_000, 1_900, 100):
        found.refuse("-1001 no engine", at_ms)
    assert found.error_percent(2_000) == 0, "nineteen answers"
    found.unanswer("TimeoutError", 1_950)
    assert found.error_percent(2_000) == 50
    assert found.error_percent(9_000) == 0, "long ago"
    assert (found.silent_ms(2_000), found.said_first) == (1_100, "-1001 no engine")


def test_what_was_acknowledged_is_held_against_the_log_order_by_order() -> None:
    told = {"r-1": 11, "r-2": 12, "r-3": 13}
    good = compared("pod", AUDIT | {"orders": {"r-1": [11], "r-2": [12], "r-3": [13], "r-4": [14]}}, told)
    assert (good.compared, good.lost, good.repeated) == (3, 0, 0), "one that was not answered may be there"
    bad = compared("pod", AUDIT | {"orders": {"r-1": [11, 15], "r-2": [99]}}, told)
    assert (bad.lost, bad.repeated) == (3, 1)
    assert bad.lost_first[1] == "r-2: acknowledged as 12, in the log [99]"


def audit_of_move(what: str, shard: str, orders: dict[str, list[int]], **open_: list[object]) -> dict[str, Any]:
    passage = {"what": what, "seq": 7, "at_us": 1, "move": "m", "shard": shard, "open": open_}
    whereabouts = {"here_first": what == "Frozen", "passages": [passage], "away": 0, "away_first": [], "trade_gaps": []}
    return AUDIT | {"orders": orders, "whereabouts": whereabouts}


RESTS: list[object] = ["r-2", 1900, 1, 10_000, 5, 2, 0]
LEFT = audit_of_move("Frozen", "second", {"r-1": [11], "r-2": [12]}, **{"12": RESTS})


def test_orders_are_in_the_log_of_one_shard_or_the_other_and_come_as_they_left() -> None:
    told = {"r-1": 11, "r-2": 12, "r-3": 13}
    came = audit_of_move("Imported", "main", {"r-3": [13]}, **{"12": RESTS})
    good = compared_together({"main-0": LEFT, "second-0": came}, told)
    assert (good.pods, good.compared, good.lost, good.repeated) == (("main-0", "second-0"), 3, 0, 0)
    alone = [compared("pod", each, {}) for each in (LEFT, came)]
    (left,), (arrived,) = (log.whereabouts.passages for log in alone if log.whereabouts is not None)
    assert (left.open_orders, left.orders) == (arrived.open_orders, arrived.orders) == (1, left.orders)
    nobody = audit_of_move("Imported", "main", {"r-3": [13]})
    lost = compared_together({"main-0": LEFT, "second-0": nobody}, told)
    assert lost.lost_first == ("r-2: left main as order 12, came to second nowhere",)
    changed = audit_of_move("Imported", "main", {"r-3": [13]}, **{"12": [*RESTS[:4], 6, *RESTS[5:]]})
    assert compared_together({"main-0": LEFT, "second-0": changed}, told).lost == 1
    never = compared_together({"main-0": LEFT, "second-0": AUDIT | {"orders": {}}}, told)
    assert never.lost_first == ("r-3: acknowledged as 13, in the logs nothing",), "what left came nowhere yet"
    another = audit_of_move("Imported", "main", {"r-3": [99]}, **{"12": RESTS})
    assert compared_together({"main-0": LEFT, "second-0": another}, told).lost == 1


def test_an_order_that_both_shards_accepted_was_carried_out_twice_also_when_nobody_was_told() -> None:
    for orders in ({"r-2": [12], "r-3": [13]}, {"r-2": [15], "r-3": [13]}):
        came = audit_of_move("Imported", "main", orders, **{"12": RESTS})
        found = compared_together({"main-0": LEFT, "second-0": came}, {"r-3": 13})
        assert (found.lost, found.repeated) == (0, 1)
        assert found.repeated_first == (f"r-2: [12, {orders['r-2'][0]}]",)


def test_the_longest_silence_is_of_what_ended_in_that_time() -> None:
    found = heard(0, 10, 400, 410, 1_000)
    assert found.longest_ms(0, 2_000) == 590
    assert found.longest_ms(10, 400) == 390
    assert found.longest_ms(400, 420) == 10
    assert found.longest_ms(1_000, 2_000) is None


def test_a_log_that_could_not_be_carried_out_is_damaged_and_one_without_orders_is_no_audit() -> None:
    assert compared("pod", {"damaged": "at seq 7"}, {}).damaged == "at seq 7"
    with pytest.raises(ValueError, match="no orders"):
        compared("pod", AUDIT, {})
    with pytest.raises(ValueError, match="validation error"):
        compared("pod", {"orders": {}}, {})


def test_what_is_cut_off_is_dropped_counted_and_forgotten_by_the_kernel_in_time() -> None:
    made = table({"standby": ["10.1.0.7", "fd00::7"], "api-server": ["10.96.0.1"]}, 5)
    assert "set standby_ip { type ipv4_addr; flags interval, timeout; elements = { 10.1.0.7 timeout 5s } }" in made
    assert "set standby_ip6 { type ipv6_addr; flags interval, timeout; elements = { fd00::7 timeout 5s } }" in made
    for rule in ("ip daddr @api_server_ip counter name api_server drop", "ip6 saddr @standby_ip6 counter name standby"):
        assert rule in made
    listing = '{"nftables": [{"metainfo": {}}, {"counter": {"name": "api_server", "packets": 7, "bytes": 1}}]}'
    assert counted(listing) == {"api-server": 7}
