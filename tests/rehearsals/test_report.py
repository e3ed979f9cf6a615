"""A sealed report: what anybody can check of a copy, and that no change of one goes unnoticed."""

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from fixtures.rehearsal_facts import ANOTHER_KEY, KEY, chain, good, report
from openbourse.contracts.resources import Scenario
from openbourse.operator.rehearsals.page import page, timeline
from openbourse.operator.rehearsals.report import BadReport, chain_problems, check, judged, public_text, seal

PUBLIC = public_text(KEY.public)


def test_a_copy_of_what_was_sealed_has_nothing_wrong_with_it() -> None:
    for scenario in Scenario:
        sealed = seal(report(good(scenario)), KEY)
        checked = check(sealed.text, PUBLIC)
        assert checked.problems == ()
        assert (checked.report, checked.sha256, checked.key) == (sealed.report, sealed.sha256, PUBLIC)
        respaced = json.dumps(json.loads(sealed.text))
        assert check(respaced, PUBLIC).problems == (), "layout is no content"


def test_a_report_of_an_earlier_version_is_verified_as_it_was_sealed() -> None:
    """Its key was no token's. What is looked at since decides nothing of it: the verdict is the one that it has."""
    text = Path(__file__).with_name("report_of_2026_11_29.json").read_text()
    earlier = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
    checked = check(text, earlier)
    assert checked.problems == ()
    assert check(text, PUBLIC, earlier).problems == (), "keys of a chain that went on under another one"
    assert check(text, PUBLIC).problems != ()
    assert check(text.replace('"lost": 0', '"lost": 1', 1), earlier).problems != ()
    assert checked.report is not None
    assert "StatusIsTrue" not in {each.name for each in checked.report.invariants}


def leaves(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """Paths to everything that is no folder of others, and to what is empty."""
    if isinstance(value, dict) and value:
        for name, entry in value.items():
            yield from leaves(entry, *path, name)
    elif isinstance(value, list) and value:
        for at, entry in enumerate(value[:3]):
            yield from leaves(entry, *path, at)
    else:
        yield path


def altered(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value[:-1] + ("x" if not value.endswith("x") else "y") if value else "x"
        case None:
            return 0
        case _:
            return ["x"] if isinstance(value, list) else {"x": "y"}


def test_every_field_that_is_altered_taken_away_or_added_is_noticed() -> None:
    text = seal(report(good()), KEY).text
    paths = list(leaves(json.loads(text)))
    assert len(paths) > 100
    for path in paths:
        for change in ("alter", "take", "add"):
            document = json.loads(text)
            folder = document
            for part in path[:-1]:
                folder = folder[part]
            if change == "alter":
                folder[path[-1]] = altered(folder[path[-1]])
            elif change == "take":
                del folder[path[-1]]
            elif isinstance(folder, dict):
                folder["added"] = 1
            else:
                folder.append(folder[-1])
            try:
                problems = check(json.dumps(document), PUBLIC).problems
            except BadReport:
                continue
            assert problems, (path, change)


def test_every_byte_that_is_another_one_is_noticed_or_is_only_layout() -> None:
    sealed = seal(report(good()), KEY)
    content = json.loads(sealed.text)
    signature = sealed.text.index('"signature"')
    for at in (*range(0, len(sealed.text), 7), *range(signature, len(sealed.text))):
        spoiled = sealed.text[:at] + chr(ord(sealed.text[at]) ^ 1) + sealed.text[at + 1 :]
        try:
            problems = check(spoiled, PUBLIC).problems
        except BadReport:
            continue
        assert problems or json.loads(spoiled) == content, at


BAD = {
    "nothing": "",
    "no JSON": "report",
    "a list": "[]",
    "cut": "half",
    "a field twice": '{"report": {}, "report": {}, "sha256": "", "key": "", "signature": ""}',
    "a float": '{"report": {"a": 1.0}, "sha256": "", "key": "", "signature": ""}',
    "not a number": '{"report": {"a": NaN}, "sha256": "", "key": "", "signature": ""}',
    "more than a report": '{"report": {}, "sha256": "", "key": "", "signature": "", "more": ""}',
    "deep": "[" * 200_000,
    "long": '"' + "x" * 2_000_000 + '"',
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_no_report_is_said_to_be_none(text: str) -> None:
    with pytest.raises(BadReport):
        check(seal(report(good()), KEY).text[:900] if text == "half" else text)


def test_a_report_that_somebody_else_signed_is_another_ones() -> None:
    sealed = seal(report(good()), ANOTHER_KEY)
    assert check(sealed.text).problems == (), "it was not changed since it was signed, says a copy alone"
    assert "is signed with the key" in " ".join(check(sealed.text, PUBLIC).problems)


def test_a_verdict_that_does_not_follow_from_its_facts_is_noticed_though_it_was_signed() -> None:
    lost = good().model_copy(update={"aborted": "somebody ended it"})
    _, fields = judged(good())
    lying = report(lost).model_copy(update=fields)
    problems = check(seal(lying, KEY).text, PUBLIC).problems
    assert len(problems) == 1
    assert "its facts make Inconclusive (Aborted), and it says otherwise in" in problems[0]


def test_reports_follow_one_another_and_one_that_was_taken_away_is_missed() -> None:
    checked = [check(sealed.text, PUBLIC) for sealed in chain(4)]
    assert chain_problems(checked) == ()
    assert chain_problems(checked[::-1]) == (), "in any order"
    assert chain_problems(checked[1:]) == (), "what is older than all of them is not missed here"
    assert "between the reports 1 and 3 one is missing" in chain_problems([checked[0], checked[2]])
    replaced = check(seal(report(good(Scenario.ENGINE_FREEZE), 2, checked[0].sha256), KEY).text, PUBLIC)
    assert "report 3 follows a report" in " ".join(chain_problems([checked[0], replaced, checked[2]]))
    assert "two reports with the number 2" in " ".join(chain_problems([*checked, replaced]))
    begun = check(seal(report(good(), 1, "f" * 64), KEY).text, PUBLIC)
    assert chain_problems([begun]) == ("report 1 names a report before it",)


class _Loads(HTMLParser):
    found: list[str]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {name}" for name, _ in attrs if name in {"src", "href"} or name.startswith("on")]


def test_the_page_has_a_picture_shows_text_as_text_and_loads_nothing() -> None:
    evil = good().model_copy(update={"aborted": "<script>alert(1)</script>"})
    for facts in (good(), evil, good(Scenario.PARTITION_FROM_BOTH), good().model_copy(update={"asked_ms": None})):
        sealed = seal(report(facts), KEY)
        html = page(sealed.report, sealed.sha256, sealed.key)
        parser = _Loads()
        parser.found = []
        parser.feed(html)
        assert parser.found == []
        assert "<script>" not in html
        picture = ElementTree.fromstring(timeline(facts))  # noqa: S314 (our own)
        assert len(picture.findall(".//{http://www.w3.org/2000/svg}rect")) > 100
    sealed = seal(report(good()), KEY)
    html = page(sealed.report, sealed.sha256, sealed.key)
    assert "450 ms" in html
    assert f"{good().leaders[1].holder}, epoch 4" in html


def test_the_page_of_a_move_says_both_pauses_and_who_led_in_each_shard() -> None:
    facts = good(Scenario.SYMBOL_MOVE)
    sealed = seal(report(facts), KEY)
    html = page(sealed.report, sealed.sha256, sealed.key)
    pauses = "Completed, traded in neither for 57 ms, no order acknowledged for 90 ms"
    assert f"BTCUSDT from shard main to second: {pauses}" in html
    assert f"BTCUSDT from shard second to main: {pauses}" in html
    ElementTree.fromstring(timeline(facts))  # noqa: S314 (our own)
    for leader in (facts.leaders[-1], facts.others[0].leaders[-1]):
        assert f"{leader.holder}, epoch {leader.epoch}" in timeline(facts)
    assert timeline(facts).count(">to ") == 2
    assert "Moves" not in page(report(good()), sealed.sha256, sealed.key)
