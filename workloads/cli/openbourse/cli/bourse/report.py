"""`kubectl bourse report`: the sealed reports of rehearsals: which there are, what one says, whether it is genuine.

`verify` and `show` work on a saved copy anywhere, without a cluster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from openbourse.cli.bourse.cluster import Context, Kubeconfig, Namespace, Target, connected
from openbourse.cli.bourse.console import Output, OutputOption, console, fail, run, show
from openbourse.cli.bourse.errors import NotDone
from openbourse.contracts.apiserver import Resource
from openbourse.contracts.resources import Rehearsal
from openbourse.operator.rehearsals.page import moves, page, took
from openbourse.operator.rehearsals.report import BadReport, Checked, chain_problems, check, fingerprint

CONFIG_MAP = Resource("", "v1", "configmaps", "ConfigMap")
FILE = "report.json"

app = typer.Typer(help="Reports of rehearsals.", no_args_is_help=True)

_What = Annotated[str, typer.Argument(help="A file with a report, or the name of a Rehearsal.")]
_Keys = Annotated[
    list[str] | None,
    typer.Option(
        help="Public key that signed it, as the Rehearsal's status says. May be repeated.", show_default="any"
    ),
]


@dataclass(frozen=True, slots=True)
class Line:
    """One report of the list. `problems`: none, it is genuine."""

    rehearsal: str
    number: int
    scenario: str
    verdict: str
    reason: str
    rto_ms: int | None
    rpo_orders: int | None
    ended_at: str
    problems: tuple[str, ...]


@app.command(name="list")
def list_(
    output: OutputOption = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """The reports of a namespace, each checked, and whether they follow one another. Ends with 1 when one does not.

    \b
    kubectl bourse report list -n exchange
    """
    lines, problems = run(_list(Target(namespace, context, kubeconfig)))
    table = Table(box=None, pad_edge=False, show_edge=False)
    for column in ("No", "Rehearsal", "Scenario", "Verdict", "Reason", "RTO ms", "RPO", "Ended", "Seal"):
        table.add_column(column)
    for line in lines:
        numbers = ["-" if value is None else str(value) for value in (line.rto_ms, line.rpo_orders)]
        seal = "; ".join(line.problems) or "genuine"
        table.add_row(
            *(str(line.number), line.rehearsal, line.scenario, line.verdict, line.reason),
            *(*numbers, line.ended_at[:19], seal),
        )
    show({"reports": [_document(line) for line in lines], "problems": list(problems)}, output, table)
    _end((*problems, *(problem for line in lines for problem in line.problems)))


@app.command(name="show")
def show_(
    report: _What,
    *,
    html: Annotated[Path | None, typer.Option(help="Write it as a page with a picture into this file.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the sealed report as it is into this file.")] = None,
    output: OutputOption = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """What a report says: verdict, what held, what was done. It is checked first.

    \b
    kubectl bourse report show engine-crash-20261129-040000 -n exchange --html report.html
    kubectl bourse report show engine-crash-20261129-040000 -n exchange --save report.json
    kubectl bourse report show report.json
    """
    text = _text(report, Target(namespace, context, kubeconfig))
    checked = _checked(text, (), report)
    found = checked.report
    if found is None:
        fail(f"{report}: {'; '.join(checked.problems)}")
    if save is not None:
        save.write_text(text)
    if html is not None:
        html.write_text(page(found, checked.sha256, checked.key))
    grid = Table.grid(padding=(0, 2))
    rows = [
        ("Rehearsal", f"{found.namespace}/{found.rehearsal}, report {found.number} of {found.exchange}"),
        ("Scenario", found.facts.scenario.value),
        ("Verdict", f"{found.verdict}, {found.reason}: {found.sentence}"),
        ("RTO", "-" if found.rto_ms is None else f"{found.rto_ms} ms"),
        ("RPO", "-" if found.rpo_orders is None else f"{found.rpo_orders} orders"),
        ("Acknowledged", f"p50 and p99 {took(found.facts) or '-'}"),
        *(("Move", told) for told in moves(found.facts)),
        *((each.name, f"{each.state}: {each.sentence}") for each in found.invariants),
        *((f"{step.at_ms / 1000:.2f} s", f"{step.name}: {step.said}") for step in found.facts.steps),
    ]
    for name, value in rows:
        grid.add_row(name, value)
    show(found.model_dump(mode="json", by_alias=True), output, grid)
    _end(checked.problems)


@app.command()
def verify(
    reports: Annotated[list[str], typer.Argument(help="Files with reports, or names of Rehearsals.")],
    key: _Keys = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Check digest, signature and chain, and make the verdict again of the facts. Files need no cluster.

    Without --key it is proved that nothing was changed since somebody signed it: compare the fingerprint, which is
    printed, with that of your exchange. Ends with 1 when anything is wrong, with 2 for what is no report.

    \b
    kubectl bourse report verify report.json --key "$(kubectl get rehearsal NAME -o jsonpath={.status.report.key})"
    kubectl bourse report verify reports/*.json
    """
    target = Target(namespace, context, kubeconfig)
    checked = [_checked(_text(report, target), key or (), report) for report in reports]
    problems: list[str] = []
    for name, each in zip(reports, checked, strict=True):
        said = "; ".join(each.problems) or "genuine"
        about = "" if each.report is None else f" (report {each.report.number}: {each.report.verdict})"
        console.print(f"{name}: {said}{about}; key {fingerprint(each.key)}", markup=False, soft_wrap=True)
        problems += each.problems
    chain = chain_problems(checked)
    for problem in chain:
        typer.echo(f"kubectl bourse: {problem}", err=True)
    if problems or chain:
        raise typer.Exit(1)


async def _list(target: Target) -> tuple[list[Line], tuple[str, ...]]:
    """By exchange and number."""
    async with connected(target) as (api, namespace):
        items, _ = await api.list(Rehearsal.resource, namespace)
        checked: list[Checked] = []
        lines = []
        for rehearsal in map(Rehearsal.model_validate, items):
            reference = rehearsal.status.report
            if reference is None:
                continue
            stored = await api.get(CONFIG_MAP, namespace, reference.config_map)
            try:
                each = check((stored or {}).get("data", {}).get(FILE, ""), reference.key)
            except BadReport as error:
                each = Checked(None, "", reference.key, (str(error),))
            other = (
                () if each.sha256 == reference.sha256 else ("it is another report than the Rehearsal's status names",)
            )
            checked.append(each)
            status = rehearsal.status
            lines.append(
                Line(
                    rehearsal=rehearsal.metadata.name,
                    number=reference.number,
                    scenario=rehearsal.spec.scenario.value,
                    verdict=status.verdict or "",
                    reason=next((condition.reason for condition in status.conditions), ""),
                    rto_ms=status.rto_ms,
                    rpo_orders=status.rpo_orders,
                    ended_at=str(status.ended_at or ""),
                    problems=(*each.problems, *other),
                )
            )
        exchanges = {each.report.exchange for each in checked if each.report is not None}
        problems = [
            problem
            for exchange in sorted(exchanges)
            for problem in chain_problems(
                [c for c in checked if c.report is not None and c.report.exchange == exchange]
            )
        ]
        return sorted(lines, key=lambda line: line.number), tuple(problems)


def _text(what: str, target: Target) -> str:
    path = Path(what)
    if path.is_file():
        try:
            return path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            fail(f"{what}: {error}")
    if path.suffix or "/" in what:
        fail(f"{what}: there is no such file")
    return run(_stored(target, what))


async def _stored(target: Target, name: str) -> str:
    async with connected(target) as (api, namespace):
        found = await api.get(Rehearsal.resource, namespace, name)
        if found is None:
            raise NotDone(f"there is neither a file {name} nor a Rehearsal of that name in {namespace}")
        reference = Rehearsal.model_validate(found).status.report
        if reference is None:
            raise NotDone(f"Rehearsal {name} has no report yet")
        stored = await api.get(CONFIG_MAP, namespace, reference.config_map)
        if stored is None:
            raise NotDone(f"the ConfigMap {reference.config_map} of Rehearsal {name} is gone")
        return str(stored.get("data", {}).get(FILE, ""))


def _checked(text: str, keys: Sequence[str], name: str) -> Checked:
    try:
        return check(text, *keys)
    except BadReport as error:
        fail(f"{name}: {error}")


def _document(line: Line) -> dict[str, object]:
    return {name: getattr(line, name) for name in Line.__slots__}


def _end(problems: Sequence[str]) -> None:
    for problem in problems:
        typer.echo(f"kubectl bourse: {problem}", err=True)
    if problems:
        raise typer.Exit(1)
