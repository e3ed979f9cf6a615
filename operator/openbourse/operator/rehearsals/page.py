"""A report as one page of HTML for people, with a picture of what happened when. Text in, text out."""

from collections.abc import Callable
from html import escape

from openbourse.operator.rehearsals.facts import Facts
from openbourse.operator.rehearsals.invariants import rto_ms
from openbourse.operator.rehearsals.report import Report, fingerprint
from openbourse.operator.rehearsals.shards import each_alone

Axis = Callable[[float], float]

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 960, 260, 50, 40, 60
# Of the leaders of one more shard.
_ROW = 50
_COLOURS = {"Passed": "#1a7f37", "Failed": "#c62828", "Inconclusive": "#9a6700"}
_STATES = {"Held": "#1a7f37", "Broken": "#c62828", "Unknown": "#9a6700"}


def page(report: Report, sha256: str, key: str) -> str:
    """The same report gives the same page. Nothing of it is loaded from anywhere."""
    rows = "".join(
        f'<tr><td>{escape(each.name)}</td><td style="color:{_STATES[each.state.value]}">{each.state.value}</td>'
        f"<td>{escape(each.sentence)}</td></tr>"
        for each in report.invariants
    )
    steps = "".join(
        f"<tr><td>{step.at_ms / 1000:.2f} s</td><td>{escape(step.name)}</td><td>{escape(step.said)}</td></tr>"
        for step in report.facts.steps
    )
    title = f"Rehearsal {escape(report.namespace)}/{escape(report.rehearsal)}: {escape(report.facts.scenario.value)}"
    rto = "unknown" if report.rto_ms is None else f"{report.rto_ms} ms"
    rpo = "unknown" if report.rpo_orders is None else str(report.rpo_orders)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 960px; margin: 2em auto; padding: 0 1em; color: #1f2328 }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ text-align: left; padding: .25em .8em .25em 0; vertical-align: top; border-top: 1px solid #d0d7de }}
code {{ word-break: break-all }}
</style></head><body>
<h1>{title}</h1>
<p><b style="color:{_COLOURS[report.verdict.value]}">{report.verdict.value}</b>, {escape(report.reason)}:
{escape(report.sentence)}</p>
<p>RTO {rto}, RPO {rpo} orders; {report.facts.load.acknowledged} orders acknowledged; exchange
{escape(report.exchange)}, shard {escape(report.shard)}, image {escape(report.image)};
{escape(report.started_at)} to {escape(report.ended_at)}</p>
{timeline(report.facts)}
<p>Acknowledged within, p50 and p99: {took(report.facts) or "unknown"}</p>
{_moves(report.facts)}<h2>What must hold</h2><table>{rows}</table>
<h2>What was done</h2><table>{steps}</table>
<h2>Seal</h2>
<p>Report {report.number}. Key {escape(fingerprint(key))}. This page is made of the report and is not signed:
<code>kubectl bourse report verify</code> checks the report.</p>
<p>SHA-256 <code>{escape(sha256)}</code><br>of the one before <code>{escape(report.previous)}</code><br>
public key <code>{escape(key)}</code></p>
</body></html>
"""


def _moves(facts: Facts) -> str:
    """As a table; empty: no symbol was moved."""
    if not facts.moves:
        return ""
    rows = "".join(f"<tr><td>{escape(told)}</td></tr>" for told in moves(facts))
    return f"<h2>Moves</h2><table>{rows}</table>\n"


def moves(facts: Facts) -> list[str]:
    """Each move with its pauses: as the engines have it, and as clients saw it."""
    return [
        f"{each.symbol} from shard {each.from_shard} to {each.to_shard}: {each.state or 'not taken up'}, traded in "
        f"neither for {_ms(each.paused_ms)}, no order acknowledged for {_ms(each.silent_ms)}"
        for each in facts.moves
    ]


def _ms(value: int | None) -> str:
    return "an unknown time" if value is None else f"{value} ms"


def took(facts: Facts) -> str:
    """How long acknowledgements took; empty: nobody looked, as in a report of before that was done."""
    load = facts.load
    times = (("before", load.took_before), ("during", load.took_during), ("after", load.took_after))
    told = [f"{when} the fault {each.p50_ms} and {each.p99_ms} ms" for when, each in times if each and each.orders]
    return ", ".join(told)


def timeline(facts: Facts) -> str:
    """Acknowledged orders a second as bars, the time of the fault shaded, who led below, the longest pause marked.

    Each shard has leaders of its own; a move is marked from when it was asked for to its end.
    """
    load, height = facts.load, _HEIGHT + _ROW * len(facts.others)
    whole_ms = max(facts.lasted_ms, 1)
    per_second = [count * 1000 / load.bucket_ms for count in load.acknowledged_per_bucket]
    highest = max(per_second, default=0.0) or 1.0
    plot = _HEIGHT - _TOP - _BOTTOM

    def x(at_ms: float) -> float:
        return _LEFT + (_WIDTH - _LEFT) * min(at_ms, whole_ms) / whole_ms

    bars = "".join(
        f'<rect x="{x(at * load.bucket_ms):.1f}" y="{_TOP + plot - plot * rate / highest:.1f}" '
        f'width="{max(0.8, x(load.bucket_ms) - _LEFT - 0.2):.1f}" height="{plot * rate / highest:.1f}"/>'
        for at, rate in enumerate(per_second)
        if rate
    )
    parts = [f'<g fill="#54aeff">{bars}</g>']
    if facts.struck_ms is not None:
        ends = facts.lifted_ms if facts.lifted_ms is not None else whole_ms
        parts.insert(
            0,
            f'<rect x="{x(facts.struck_ms):.1f}" y="{_TOP}" width="{max(2.0, x(ends) - x(facts.struck_ms)):.1f}" '
            f'height="{plot}" fill="#ffcecb"/>',
        )
        parts.append(_text(x(facts.struck_ms), _TOP - 8, facts.scenario.value, "#c62828"))
    for move in facts.moves:
        ends = move.over_ms if move.over_ms is not None else whole_ms
        parts.append(
            f'<rect x="{x(move.asked_ms):.1f}" y="{_TOP}" width="{max(2.0, x(ends) - x(move.asked_ms)):.1f}" '
            f'height="6" fill="#c62828"/>'
        )
        parts.append(_text(x(move.asked_ms), _TOP + 18, f"to {move.to_shard}", "#c62828"))
    after = [pause for pause in load.pauses if facts.asked_ms is not None and pause.to_ms > facts.asked_ms]
    if after and rto_ms(facts):
        longest = max(after, key=lambda pause: pause.lasted_ms)
        y = _TOP + plot / 2
        parts.append(
            f'<line x1="{x(longest.from_ms):.1f}" y1="{y}" x2="{x(longest.to_ms):.1f}" y2="{y}" stroke="#c62828" '
            f'stroke-width="2"/>'
        )
        parts.append(_text(x(longest.to_ms) + 4, y + 4, f"{longest.lasted_ms} ms", "#c62828"))
    for row, (_, alone) in enumerate(each_alone(facts)):
        parts += _leaders(alone, x, _HEIGHT - _BOTTOM + 18 + _ROW * row)
    parts += [
        _text(2, _TOP + 10, f"{highest:.0f}/s"),
        _text(_LEFT, height - 4, "0 s"),
        _text(_WIDTH - 44, height - 4, f"{whole_ms / 1000:.0f} s"),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="Acknowledged orders a second, the fault, and who led" font-size="12">{"".join(parts)}</svg>'
    )


def _leaders(facts: Facts, x: Axis, y: int) -> list[str]:
    """Each time of a leader of one shard as a line with its epoch."""
    parts = []
    runs = [leader for at, leader in enumerate(facts.leaders) if at == 0 or facts.leaders[at - 1].epoch != leader.epoch]
    for at, leader in enumerate(runs):
        ends_ms = runs[at + 1].at_ms if at + 1 < len(runs) else facts.lasted_ms
        colour = ("#8250df", "#1a7f37")[at % 2]
        parts.append(
            f'<line x1="{x(leader.at_ms):.1f}" y1="{y}" x2="{x(ends_ms):.1f}" y2="{y}" stroke="{colour}" '
            f'stroke-width="4"/>'
        )
        parts.append(_text(x(leader.at_ms), y + 18 + 14 * (at % 2), f"{leader.holder}, epoch {leader.epoch}", colour))
    return parts


def _text(x: float, y: float, text: str, colour: str = "#57606a") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}">{escape(text)}</text>'
