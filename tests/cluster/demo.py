"""`make demo`: from `kubectl apply` to a settled trade, a halt and a killed engine, on the cluster, each step timed.

Everything is done as a person would do it: kubectl, helm, `openbourse`, and unmodified ccxt. The last lines are the
proof; any step that is not as it should be ends the demo with what was seen instead.
"""

import contextlib
import io
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ccxt
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from fixtures import trading
from fixtures.cluster_exchanges import ALICE, BOB, GATEWAY, ROOT, ClusterExchange
from fixtures.cluster_seals import ClusterSeal
from fixtures.clusters import Cluster, CommandFailed
from fixtures.trading import NotSo, eventually, expect, trader

NAMESPACE = "demo"
WITNESS_NAMESPACE = "demo-witness"
HALT = ROOT / "gitops/exchange/halt.yaml"
KILL_AFTER_ORDERS = 100
ORDERS_UNDER_KILL = 400
SCREEN_COLUMNS = 132
# Where the screen of `kubectl bourse status` is drawn into; none: nowhere.
PICTURE = os.environ.get("PICTURE", "")
SENDERS = 4


class Demo(ClusterExchange):
    """The steps, in order. Each method is one, and says in its docstring what it shows."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        super().__init__(cluster, NAMESPACE, folder)
        self.halt_acknowledged_ms = 0.0
        self.acknowledged: dict[str, tuple[int, str]] = {}
        self.acknowledged_at: list[float] = []
        self.pause_ms = 0.0
        self.lost: list[str] = []
        self.trades = 0
        self.reconciled = ""
        self.seal = ClusterSeal(self)
        self.proofs: list[str] = []
        self.screen = ""

    def steps(self) -> list[Callable[[], str]]:
        return [
            self.install_operator,
            self.start_postgresql,
            self.make_keys,
            self.apply_exchange,
            self.seal.make_key,
            self.seal.start_witness,
            self.deposit,
            self.trade,
            self.show_trade,
            self.trade_at_market,
            self.post_only,
            self.fill_or_kill,
            self.halt_market,
            self.reopen_with_auction,
            self.kill_engine_under_orders,
            self.show_status,
            self.reconcile,
            self.prove,
        ]

    def trade(self) -> str:
        """two unmodified ccxt clients trade"""
        self.traders[ALICE].create_order("BTC/USDT", "limit", "sell", 0.5, 50000)
        bought = self.traders[BOB].create_order("BTC/USDT", "limit", "buy", 0.2, 51000)
        expect(bought["status"] == "closed" and bought["average"] == 50000, f"the order did not fill: {bought}")
        return f"bob bought {bought['filled']} BTC at {bought['average']}"

    def show_trade(self) -> str:
        """the trade in PostgreSQL, and as bob sees it"""
        rows = eventually(
            lambda: self.sql("select count(*), sum(quantity_lots) from ledger.trades", wanted="1|20000"), 30
        )
        mine = eventually(lambda: self.traders[BOB].fetch_my_trades("BTC/USDT"), 10)
        expect(len(mine) == 1 and mine[0]["price"] == 50000, f"bob's trades are {mine}")
        return f"trades|lots = {rows}; bob paid a fee of {mine[0]['fee']}"

    def trade_at_market(self) -> str:
        """MARKET, by quantity and by the amount to spend"""
        return trading.trade_at_market(self.traders[ALICE], self.traders[BOB])

    def post_only(self) -> str:
        """post-only: rests, or is refused"""
        return trading.post_only(self.traders[ALICE], self.traders[BOB])

    def fill_or_kill(self) -> str:
        """fill or kill: all of it, or nothing"""
        return trading.fill_or_kill(self.traders[ALICE], self.traders[BOB])

    def halt_market(self) -> str:
        """kubectl apply: a Halt; the engine acknowledges it, the next order is refused with the reason"""
        with self.watch("halts") as changes:
            self.kubectl("apply", "-f", HALT)
            seen: float | None = None
            for moment, halt in changes(20):
                if halt["metadata"]["name"] != "demo-halt" or "deletionTimestamp" in halt["metadata"]:
                    continue
                seen = seen if seen is not None else moment
                acknowledgement = halt.get("status", {}).get("acknowledgements", [])
                if acknowledgement:
                    self.halt_acknowledged_ms = (moment - seen) * 1000
                    break
        refusal = self.refusal()
        expect(refusal is not None, "an order went through a halted market")
        entry = acknowledgement[0]
        return (
            f"shard {entry['shard']} at epoch {entry['epoch']}, seq {entry['seq']} after "
            f"{self.halt_acknowledged_ms:.0f} ms; ccxt got {refusal}"
        )

    def reopen_with_auction(self) -> str:
        """kubectl delete lifts it; as the Halt says, an auction collects orders first and trades them at one price"""
        seen = trading.reopen_with_auction(
            self.traders[ALICE], self.traders[BOB], lambda: self.kubectl("delete", "-f", HALT)
        )
        expect(self.refusal() is None, "orders are not accepted again")
        return seen

    def kill_engine_under_orders(self) -> str:
        """the engine that leads is killed while orders come in: its standby takes over, nothing acknowledged is lost"""
        pod, node = self.leader()
        enough = threading.Event()
        senders = [
            threading.Thread(target=self.send_orders, args=(number, enough), daemon=True) for number in range(SENDERS)
        ]
        for sender in senders:
            sender.start()
        expect(enough.wait(60), f"only {len(self.acknowledged)} orders were acknowledged in a minute")
        self.cluster.docker("exec", node, "pkill", "-KILL", "-f", "python -m openbourse.engine")
        before = len(self.acknowledged)
        for sender in senders:
            sender.join(120)
        expect(not any(sender.is_alive() for sender in senders), "the orders did not come to an end")
        expect(len(self.acknowledged) > before, "no order was acknowledged after the engine was killed")
        self.pause_ms = max(later - sooner for sooner, later in itertools.pairwise(self.acknowledged_at)) * 1000
        successor = eventually(lambda: other if (other := self.leader()[0]) != pod else "", 30)
        self.lost = [name for name, (account, order) in self.acknowledged.items() if not self.is_there(account, order)]
        expect(not self.lost, f"lost: {self.lost}")
        return (
            f"{len(self.acknowledged)} orders acknowledged ({before} before the kill), all there; {pod} led, "
            f"{successor} leads; no order was acknowledged for {self.pause_ms:.0f} ms at most"
        )

    def send_orders(self, number: int, enough: threading.Event) -> None:
        """One order after another, each with an id of its own: alice buys, bob sells, many of them meet."""
        account, side = ((ALICE, "buy"), (BOB, "sell"))[number % 2]
        sender = trader(GATEWAY, self.traders[account].apiKey, self.traders[account].secret)
        sender.load_markets()
        for count in range(ORDERS_UNDER_KILL // SENDERS):
            name = f"kill-{number}-{count}"
            with contextlib.suppress(ccxt.NetworkError):  # not acknowledged: nothing was promised
                order = sender.create_order(
                    "BTC/USDT", "limit", side, 0.001, 10000 + count % 7, {"newClientOrderId": name}
                )
                self.acknowledged[name] = account, order["id"]
                self.acknowledged_at.append(time.monotonic())
            if len(self.acknowledged) >= KILL_AFTER_ORDERS:
                enough.set()

    def is_there(self, account: int, order: str) -> bool:
        try:
            return bool(self.traders[account].fetch_order(order, "BTC/USDT")["id"] == order)
        except ccxt.OrderNotFound:
            return False

    def show_status(self) -> str:
        """kubectl bourse: one market is halted while the rest trades, and one screen says so"""
        name = "halt-wallet"
        self.bourse("halt", "ETHUSDT", "--reason", "wallet maintenance", "--for", "15m", "--name", name)
        # The operator looks every five seconds.
        self.screen = eventually(lambda: shown if name in (shown := self.bourse_status()) else "", 30)
        self.bourse("lift", name)
        if PICTURE:
            draw(self.screen, Path(PICTURE))
        return textwrap.indent(f"\n{Text.from_ansi(self.screen).plain.rstrip()}", "    ")

    def bourse_status(self) -> str:
        """As it looks, colors included; empty until all is well again and the Halt is seen."""
        screen = self.bourse("status")
        return screen if "2/2" in screen and "HALT" in screen else ""

    def bourse(self, *arguments: str) -> str:
        """What it prints on a terminal of `SCREEN_COLUMNS`."""
        environment = self.cluster.environment | {"FORCE_COLOR": "1", "COLUMNS": str(SCREEN_COLUMNS)}
        words = ("kubectl", "bourse", *arguments, "-n", self.namespace)
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
        # 1: done, and not all is well.
        expect(done.returncode in {0, 1}, f"{' '.join(words)}: exit {done.returncode}\n{done.stderr}")
        return done.stdout

    def reconcile(self) -> str:
        """engine and ledger are compared, balance by balance"""
        with self.ledger() as options:
            self.reconciled = self.openbourse("ledger", "reconcile", *options).strip()
        self.trades = int(self.sql("select count(*) from ledger.trades"))
        return self.reconciled.splitlines()[-1]

    def prove(self) -> str:
        """the seal: a witnessed checkpoint, a verified export, a proof of what is owed, engine and ledger equal"""
        self.proofs = self.seal.prove()
        return f"{len(self.proofs)} proofs, below"

    def refusal(self) -> str | None:
        """What ccxt says of an order now; None when it is accepted (it is cancelled again)."""
        alice = self.traders[ALICE]
        said = trading.refusal(lambda: alice.create_order("BTC/USDT", "limit", "buy", 0.001, 10000))
        if said is None:
            trading.clear_book(alice)
        return said

    @contextlib.contextmanager
    def watch(self, kind: str) -> Iterator[Callable[[float], Iterator[tuple[float, dict[str, Any]]]]]:
        """Every change of the objects of a kind, with the moment at which it was seen."""
        with subprocess.Popen(
            ["kubectl", "-n", NAMESPACE, "get", kind, "--watch", "--output", "json"],
            env=self.cluster.environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            stream = process.stdout

            def changes(timeout_s: float) -> Iterator[tuple[float, dict[str, Any]]]:
                timer = threading.Timer(timeout_s, process.kill)
                timer.start()
                decoder, text = json.JSONDecoder(), ""
                try:
                    for line in stream:
                        text += line
                        if line.rstrip() == "}":
                            found, _ = decoder.raw_decode(text)
                            text = ""
                            yield time.monotonic(), found
                finally:
                    timer.cancel()
                raise NotSo(f"what was waited for did not happen to {kind} within {timeout_s:g} s")

            try:
                yield changes
            finally:
                process.kill()


def draw(screen: str, file: Path) -> None:
    """A terminal with this in it, as SVG."""
    terminal = Console(record=True, width=SCREEN_COLUMNS, file=io.StringIO(), force_terminal=True)
    terminal.print(Text.from_ansi(screen), soft_wrap=True)
    # A page that shows it loads nothing from elsewhere.
    form = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    file.write_text(terminal.export_svg(title="kubectl bourse status", code_format=form))


def main() -> int:
    cluster = Cluster(dict(os.environ))
    cluster.kubectl("delete", "namespace", NAMESPACE, WITNESS_NAMESPACE, "--ignore-not-found", timeout_s=180)
    with tempfile.TemporaryDirectory() as folder:
        demo = Demo(cluster, Path(folder))
        for number, step in enumerate(demo.steps(), 1):
            print(f"{number:2}. {step.__doc__}", flush=True)
            started = time.monotonic()
            try:
                seen = step()
            except (NotSo, CommandFailed, ccxt.BaseError, subprocess.SubprocessError) as error:
                print(f"    NOT SO after {time.monotonic() - started:.1f} s: {error}", file=sys.stderr)
                return 1
            print(f"    {time.monotonic() - started:5.1f} s  {seen}", flush=True)
    print(f"trades settled {demo.trades}")
    print(f"acknowledged orders lost {len(demo.lost)} of {len(demo.acknowledged)}")
    print(f"engine = ledger: {demo.reconciled.splitlines()[-1]}")
    print(f"take-over of a killed engine, no order acknowledged for {demo.pause_ms:.0f} ms")
    print(f"halt acknowledged after {demo.halt_acknowledged_ms:.0f} ms")
    print("\n".join(demo.proofs))
    if sys.stdout.isatty():
        print(f'\nIt is still there: eval "$(gitops/bootstrap/kind/env.sh)"; kubectl -n {NAMESPACE} get bourse')
        print(f"kubectl delete namespace {NAMESPACE} {WITNESS_NAMESPACE} ends it, make cluster-down ends the cluster.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
