"""`kubectl bourse limit`: what addresses, API keys and accounts may use.

An exception is a TradingLimit (`limit_objects`). What everybody may is in the ConfigMap that the Exchange names, which
may have exceptions too, from before there were TradingLimits. Both are changed by compare-and-set, so that two people
never undo each other unseen. The last changes of the ConfigMap stand in it; the API server's audit log has all of them.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from openbourse.cli import limits
from openbourse.cli.bourse import limit_objects
from openbourse.cli.bourse.cluster import (
    Context,
    ExchangeOption,
    Kubeconfig,
    Namespace,
    Target,
    connected,
    read_all,
    the_exchange,
)
from openbourse.cli.bourse.console import Output, OutputOption, fail, now, run, show
from openbourse.cli.bourse.errors import NotDone
from openbourse.cli.bourse.whoami import user_name
from openbourse.contracts.apiserver import ApiServer, Object, Refused
from openbourse.contracts.documents import first_problem
from openbourse.contracts.rate_limits import LimitsDocument, Override
from openbourse.contracts.resources import GROUP, Exchange, TradingLimit
from openbourse.gateway.limits.file import (
    LimitsFileInvalid,
    NoSuchOverride,
    as_text,
    with_defaults,
    without_override,
)
from openbourse.operator.manifests import kinds
from openbourse.operator.manifests.gateway import LIMITS_FILE

CHANGES = f"{GROUP}/limits-changes"
CHANGES_KEPT = 20
TRIES = 5

app = typer.Typer(no_args_is_help=True, help="Set, show and remove limits of traders.")

Reason = Annotated[str, typer.Option(help="Why, in one line: it is kept beside the limit.")]
Account = Annotated[int | None, typer.Option(help="For this account.")]
ApiKey = Annotated[str | None, typer.Option(help="For this API key.")]
Address = Annotated[str | None, typer.Option(help="For this address, or each of a network: 192.0.2.0/24.")]
Change = Callable[[LimitsDocument], LimitsDocument]


@dataclass(frozen=True, slots=True)
class Found:
    """`stored`: the ConfigMap; None: the Exchange names none."""

    stored: Object | None
    objects: list[TradingLimit]


@app.command("set")
def set_(
    *,
    reason: Reason,
    account: Account = None,
    api_key: ApiKey = None,
    address: Address = None,
    weight_per_minute: Annotated[int | None, typer.Option(help="Of an address.")] = None,
    requests_per_5m: Annotated[
        int | None, typer.Option("--requests-per-5m", help="Signed requests of an API key.")
    ] = None,
    orders_per_10s: Annotated[int | None, typer.Option("--orders-per-10s", help="Of an account.")] = None,
    orders_per_day: Annotated[int | None, typer.Option(help="Of an account.")] = None,
    until: Annotated[
        str | None, typer.Option(help="When an exception is over, such as 2026-12-01T00:00:00Z.", show_default="never")
    ] = None,
    exchange: ExchangeOption = None,
    output: OutputOption = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Set an exception for one account, API key or address, in place of the one before; or the limits of all others.

    An exception is a TradingLimit, whose condition Applied says that every gateway has it in use; they take it without
    a restart. The limits of all others are in the ConfigMap that spec.gateway.limitsConfigMap names.

    \b
    kubectl bourse limit set --account 1001 --orders-per-10s 5000 --reason "market maker" -n exchange
    kubectl bourse limit set --address 192.0.2.0/24 --weight-per-minute 0 --reason "abuse, ticket 7" \\
        --until 2026-12-01T00:00:00Z
    kubectl bourse limit set --weight-per-minute 6000 --reason "as announced"
    """
    said = {
        "weight_per_minute": weight_per_minute,
        "requests_per_5m": requests_per_5m,
        "orders_per_10s": orders_per_10s,
        "orders_per_day": orders_per_day,
    }
    try:
        if account is None and api_key is None and address is None:
            if not any(limit is not None for limit in said.values()):
                fail("say a limit, for all or with --account, --api-key or --address for one")
            if until is not None:
                fail("--until ends an exception: say --account, --api-key or --address")
            wanted = limits.of_all(said)
            step = _change(lambda now_: with_defaults(now_, wanted), "set for everybody", _why(reason))
        else:
            of = {"account": account, "api_key": api_key, "address": address}
            step = _put(Override.model_validate({**of, **said, "reason": _why(reason), "until": until}))
    except (ValidationError, ValueError) as error:
        _no(error)
    _show(run(_stepped(Target(namespace, context, kubeconfig), exchange, step)), output)


@app.command()
def remove(
    *,
    reason: Reason,
    account: Account = None,
    api_key: ApiKey = None,
    address: Address = None,
    exchange: ExchangeOption = None,
    output: OutputOption = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Take an exception away, from wherever it stands.

    \b
    kubectl bourse limit remove --account 1001 --reason "no market maker any more" -n exchange
    """
    try:
        subject = limits.subject(account, api_key, address)
    except ValueError as error:
        _no(error)
    _show(run(_stepped(Target(namespace, context, kubeconfig), exchange, _remove(subject, _why(reason)))), output)


@app.command("show")
def show_limits(
    *,
    exchange: ExchangeOption = None,
    output: OutputOption = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show the limits, the exceptions, and who changed what lately.

    \b
    kubectl bourse limit show -n exchange
    kubectl bourse limit show -o json
    """
    _show(run(_stepped(Target(namespace, context, kubeconfig), exchange, None)), output)


# What is done with an exchange's limits, by whom.
Step = Callable[[ApiServer, Exchange, str], Awaitable[None]]


def _why(reason: str) -> str:
    if not reason.strip() or not reason.isprintable():
        fail("--reason must be one line of text that says why")
    return reason.strip()


async def _stepped(target: Target, wanted: str | None, step: Step | None) -> Found:
    """What there is after it. Raises NotDone and ApiError."""
    async with connected(target) as (api, namespace):
        exchange = the_exchange(await read_all(api, Exchange, namespace), wanted, namespace)
        if step is not None:
            await step(api, exchange, await user_name(api))
        stored = None if exchange.spec.gateway.limits_config_map is None else await _stored(api, exchange)
        return Found(stored, await limit_objects.read(api, namespace, exchange.metadata.name))


def _put(override: Override) -> Step:
    async def put(api: ApiServer, exchange: Exchange, who: str) -> None:
        await limit_objects.put(api, exchange.metadata.namespace, exchange.metadata.name, override, who)

    return put


def _remove(subject: tuple[str, str], reason: str) -> Step:
    in_config_map = _change(lambda now_: without_override(now_, subject), "removed for {} {}".format(*subject), reason)

    async def remove(api: ApiServer, exchange: Exchange, who: str) -> None:
        of = exchange.metadata
        was_there = await limit_objects.take_away(api, of.namespace, of.name, subject)
        if exchange.spec.gateway.limits_config_map is None:
            if not was_there:
                raise NotDone("Exchange {} has no exception for {} {}".format(of.name, *subject))
            return
        document = _document(await _stored(api, exchange))
        if not was_there or any(override.subject == subject for override in document.overrides):
            await in_config_map(api, exchange, who)

    return remove


def _change(change: Change, what: str, reason: str) -> Step:
    """Of the ConfigMap."""

    async def changed(api: ApiServer, exchange: Exchange, who: str) -> None:
        for _ in range(TRIES):
            stored = await _stored(api, exchange)
            try:
                text = as_text(change(_document(stored)))
            except (NoSuchOverride, LimitsFileInvalid) as error:
                raise NotDone(str(error)) from None
            entry = {"at": now().isoformat(timespec="seconds"), "who": who, "what": what, "why": reason}
            kept = [*_changes(stored), entry][-CHANGES_KEPT:]
            annotations = stored["metadata"].get("annotations", {}) | {CHANGES: json.dumps(kept)}
            stored["metadata"]["annotations"] = annotations
            stored["data"] = stored.get("data", {}) | {LIMITS_FILE: text}
            try:
                await api.replace(kinds.CONFIG_MAP, stored)
            except Refused as error:
                if not error.is_conflict:
                    raise
            else:
                return
        raise NotDone(f"others changed it {TRIES} times meanwhile: ask again")

    return changed


async def _stored(api: ApiServer, exchange: Exchange) -> Object:
    namespace, name = exchange.metadata.namespace, exchange.spec.gateway.limits_config_map
    if name is None:
        raise NotDone(
            f"Exchange {exchange.metadata.name} names no ConfigMap for limits of everybody: make one, and say it in "
            f"spec.gateway.limitsConfigMap; gateways are replaced once for that"
        )
    stored = await api.get(kinds.CONFIG_MAP, namespace, name)
    if stored is None:
        raise NotDone(
            f"there is no ConfigMap {name}, which Exchange {exchange.metadata.name} names: "
            f"kubectl create configmap {name} -n {namespace} --from-literal={LIMITS_FILE}='{{}}'"
        )
    return stored


def _document(stored: Object) -> LimitsDocument:
    try:
        return LimitsDocument.model_validate_json(stored.get("data", {}).get(LIMITS_FILE, "{}"))
    except ValidationError as error:
        name = stored["metadata"]["name"]
        raise NotDone(f"ConfigMap {name}, {LIMITS_FILE}: {first_problem(error)}; mend it with kubectl edit") from None


def _changes(stored: Object) -> list[dict[str, str]]:
    """What somebody wrote there by hand is no reason not to set a limit."""
    try:
        kept = json.loads(stored["metadata"].get("annotations", {}).get(CHANGES, "[]"))
    except ValueError:
        return []
    return kept if isinstance(kept, list) else []


def _show(found: Found, output: Output) -> None:
    try:
        document = LimitsDocument() if found.stored is None else _document(found.stored)
    except NotDone as error:
        fail(str(error))
    changes = [] if found.stored is None else _changes(found.stored)
    lines = [limits.listed(document), *limit_objects.listed(found.objects)]
    lines += ["{at}  {who}  {what}: {why}".format(**change) for change in changes]
    whole = document.model_dump(mode="json", by_alias=True, exclude_none=True)
    whole |= {"tradingLimits": limit_objects.documents(found.objects), "changes": changes}
    show(whole, output, "\n".join(lines))


def _no(error: Exception) -> NoReturn:
    fail(first_problem(error) if isinstance(error, ValidationError) else str(error))
