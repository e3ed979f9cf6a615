"""`make demo`: from `kubectl apply` to a settled trade, a halt and a killed engine, on the cluster, each step timed.

Everything is done as a person would do it: kubectl, helm, `openbourse`, and unmodified ccxt. The last lines are the
proof; any step that is not as it should be ends the demo with what was seen instead.
"""

import base64
import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ccxt

from fixtures import trading
from fixtures.clusters import Cluster, CommandFailed
from fixtures.processes import free_address
from fixtures.trading import NotSo, eventually, expect, trader

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "demo"
GATEWAY = "http://127.0.0.1:18080"
HALT = ROOT / "gitops/exchange/halt.yaml"
ALICE, BOB = 1001, 1002
READY_TIMEOUT_S = 180
KILL_AFTER_ORDERS = 100
ORDERS_UNDER_KILL = 400
SENDERS = 4


class Demo:
    """The steps, in order. Each method is one, and says in its docstring what it shows."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.traders: dict[int, ccxt.binance] = {}
        self.halt_acknowledged_ms = 0.0
        self.acknowledged: dict[str, tuple[int, str]] = {}
        self.lost: list[str] = []
        self.trades = 0
        self.reconciled = ""

    def steps(self) -> list[Callable[[], str]]:
        return [
            self.install_operator,
            self.start_postgresql,
            self.make_keys,
            self.apply_exchange,
            self.deposit,
            self.trade,
            self.show_trade,
            self.trade_at_market,
            self.post_only,
            self.fill_or_kill,
            self.halt_market,
            self.reopen_with_auction,
            self.kill_engine_under_orders,
            self.reconcile,
        ]

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, timeout_s: float = 60) -> str:
        return self.cluster.kubectl("-n", NAMESPACE, *arguments, stdin=stdin, timeout_s=timeout_s)

    def install_operator(self) -> str:
        """helm installs the operator"""
        chart = ROOT / "charts/openbourse"
        self.cluster.kubectl("create", "namespace", NAMESPACE)
        self.cluster.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        self.cluster.helm(
            *("upgrade", "--install", "openbourse", chart, "--namespace", NAMESPACE),
            *("--wait", "--timeout", f"{READY_TIMEOUT_S}s"),
            timeout_s=READY_TIMEOUT_S + 30,
        )
        return f"namespace {NAMESPACE}, in which only restricted pods are admitted"

    def start_postgresql(self) -> str:
        """a PostgreSQL for the ledger"""
        owner, application = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        host = f"postgresql.{NAMESPACE}.svc/openbourse"
        self.secret("postgresql", password=owner)
        self.secret(
            "demo-database",
            **{
                "owner-dsn": f"postgresql://postgres:{owner}@{host}",
                "dsn": f"postgresql://openbourse_ledger:{application}@{host}",
            },
        )
        self.kubectl("apply", "-f", ROOT / "gitops/platform/postgresql.yaml")
        self.cluster.wait(NAMESPACE, "pod/postgresql-0", "condition=Ready", timeout_s=READY_TIMEOUT_S)
        return "pod postgresql-0 is ready"

    def make_keys(self) -> str:
        """API keys for two traders"""
        file = self.folder / "keys.json"
        for account, label in ((ALICE, "alice"), (BOB, "bob")):
            self.openbourse("keys", "create", "--file", file, "--account", str(account), "--label", label)
        self.secret("demo-keys", **{"keys.json": file.read_text()})
        for key in json.loads(file.read_text())["keys"]:
            self.traders[key["account"]] = trader(GATEWAY, key["api_key"], key["secret"])
        return "accounts 1001 (alice) and 1002 (bob)"

    def apply_exchange(self) -> str:
        """kubectl apply: an Exchange, a shard, two symbols"""
        self.kubectl("apply", "-f", ROOT / "gitops/exchange/demo.yaml")
        self.cluster.wait(NAMESPACE, "exchange/demo", "condition=Ready", timeout_s=READY_TIMEOUT_S)
        self.cluster.wait(NAMESPACE, "symbol/btcusdt", "condition=Listed")
        markets = eventually(lambda: self.traders[ALICE].load_markets(True), 30)
        return f"Exchange demo is Ready, trading {', '.join(sorted(markets))}"

    def deposit(self) -> str:
        """deposits, by a person with the exchange's command line certificate"""
        with self.ledger() as options:
            for account in (ALICE, BOB):
                for asset, amount in (("BTC", "10"), ("USDT", "1000000")):
                    account_and_asset = ("--account", str(account), "--asset", asset, "--amount", amount)
                    self.openbourse("ledger", "deposit", *account_and_asset, *options)
        return f"alice has {self.traders[ALICE].fetch_balance()['total']}"

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
        """the engine's process is killed while orders come in; every acknowledged order is still there"""
        pod = self.kubectl(
            *("get", "pods", "-l", "app.kubernetes.io/component=engine", "-o", "jsonpath={.items[0].metadata.name}")
        )
        node = self.kubectl("get", "pod", pod, "-o", "jsonpath={.spec.nodeName}")
        enough = threading.Event()
        senders = [
            threading.Thread(target=self.send_orders, args=(number, enough), daemon=True) for number in range(SENDERS)
        ]
        for sender in senders:
            sender.start()
        expect(enough.wait(60), f"only {len(self.acknowledged)} orders were acknowledged in a minute")
        killed = time.monotonic()
        self.cluster.docker("exec", node, "pkill", "-KILL", "-f", "python -m openbourse.engine")
        before = len(self.acknowledged)
        for sender in senders:
            sender.join(120)
        expect(not any(sender.is_alive() for sender in senders), "the orders did not come to an end")
        expect(len(self.acknowledged) > before, "no order was acknowledged after the engine was killed")
        self.lost = [name for name, (account, order) in self.acknowledged.items() if not self.is_there(account, order)]
        expect(not self.lost, f"lost: {self.lost}")
        return (
            f"{len(self.acknowledged)} orders acknowledged ({before} before the kill), all there; "
            f"done {time.monotonic() - killed:.1f} s after it"
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
            if len(self.acknowledged) >= KILL_AFTER_ORDERS:
                enough.set()

    def is_there(self, account: int, order: str) -> bool:
        try:
            return bool(self.traders[account].fetch_order(order, "BTC/USDT")["id"] == order)
        except ccxt.OrderNotFound:
            return False

    def reconcile(self) -> str:
        """engine and ledger are compared, balance by balance"""
        with self.ledger() as options:
            self.reconciled = self.openbourse("ledger", "reconcile", *options).strip()
        self.trades = int(self.sql("select count(*) from ledger.trades"))
        return self.reconciled.splitlines()[-1]

    def refusal(self) -> str | None:
        """What ccxt says of an order now; None when it is accepted (it is cancelled again)."""
        alice = self.traders[ALICE]
        said = trading.refusal(lambda: alice.create_order("BTC/USDT", "limit", "buy", 0.001, 10000))
        if said is None:
            trading.clear_book(alice)
        return said

    def openbourse(self, *arguments: str | Path) -> str:
        words = [str(word) for word in ("openbourse", *arguments)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        expect(done.returncode == 0, f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def secret(self, name: str, **entries: str) -> None:
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": entries},
            namespace=NAMESPACE,
        )

    def sql(self, query: str, wanted: str | None = None) -> str:
        """One row as psql prints it; with `wanted`, empty until it is that."""
        password = "PGPASSWORD=$(cat /run/secrets/postgresql/password)"
        psql = f'{password} psql -U postgres -h /run/postgresql -d openbourse -qtAc "$0"'
        row = self.kubectl("exec", "postgresql-0", "--", "sh", "-c", psql, query).strip()
        return row if wanted is None or row == wanted else ""

    @contextlib.contextmanager
    def ledger(self) -> Iterator[tuple[str, ...]]:
        """How `openbourse ledger` reaches the ledger: a forwarded port and a person's certificate."""
        material = self.folder / "tls"
        material.mkdir(exist_ok=True)
        secret = json.loads(self.kubectl("get", "secret", "demo-cli-tls", "-o", "json"))
        for name, content in secret["data"].items():
            (material / name).write_bytes(base64.b64decode(content))
        port = free_address().port
        forward = subprocess.Popen(
            ["kubectl", "-n", NAMESPACE, "port-forward", "service/demo-ledger-main", f"{port}:7100"],
            env=self.cluster.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually(lambda: answers(port), 20)
            yield ("--ledger", f"https://localhost:{port}", "--tls", str(material))
        finally:
            forward.terminate()
            forward.wait(10)

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


def answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def main() -> int:
    cluster = Cluster(dict(os.environ))
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout_s=180)
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
    print(f"halt acknowledged after {demo.halt_acknowledged_ms:.0f} ms")
    if sys.stdout.isatty():
        print(f'\nIt is still there: eval "$(gitops/bootstrap/kind/env.sh)"; kubectl -n {NAMESPACE} get bourse')
        print(f"kubectl delete namespace {NAMESPACE} ends it, make cluster-down ends the cluster.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
