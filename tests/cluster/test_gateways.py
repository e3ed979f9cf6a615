"""On the cluster, two gateways behind one Service, and clients on REST, the WebSocket API and streams: one fails.

Clients come again; no order that was acknowledged is lost, none is carried out twice, and what one gateway counted
the other knows. With a node go its market data too, and the others answer. Beside that, market data that are killed, or
lose their history, are back with the same numbers. One exchange for all of it: PostgreSQL, Redis and the ledger on one
node, engines and gateways on the others.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from fixtures.cluster_clients import Heard, trading
from fixtures.cluster_exchanges import GATEWAY, READY_TIMEOUT_S, ClusterExchange
from fixtures.cluster_load import wrong_in_log
from fixtures.clusters import Cluster
from fixtures.figures import Show
from fixtures.gateways import Trader
from fixtures.redises import within_one_window
from fixtures.trading import eventually
from openbourse.gateway.keys import read_keys

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]

# The chart is installed once in a cluster, so there is one such namespace.
NAMESPACE = "demo"
ENGINES, REST = ("openbourse-worker", "openbourse-worker2"), "openbourse-worker3"
MARKET_DATA = "demo-marketdata-main-0"
# Who trades in one test alone, and how many orders it may place within ten seconds.
LIMITED, LIMITED_KEYS, ORDERS_MOST = 1003, "all-keys.json", 20
# The clients go on for so long behind a fault.
LASTS_S = 3.0
# A lost node is in the Service for most of a minute: every second new connection goes there, and is given up.
PAUSE_MS_MOST = 20_000
BACK_S = 60


@pytest.fixture(scope="module")
def exchange(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterExchange]:
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout_s=180)
    exchange = ClusterExchange(cluster, NAMESPACE, tmp_path_factory.mktemp("exchange"))
    try:
        with cluster.cordoned(*ENGINES):
            exchange.begin(redis=True)
        exchange.make_keys()
        add_limited(exchange)
        exchange.apply_exchange(gateway={"replicas": 2, "redisSecret": "demo-redis", "limitsConfigMap": "limits"})
        with cluster.cordoned(*ENGINES):
            exchange.kubectl("delete", "pod", "-l", "app.kubernetes.io/component=ledger")
            exchange.kubectl("rollout", "status", "deployment/demo-ledger-main", timeout_s=READY_TIMEOUT_S)
        exchange.deposit()
        yield exchange
    finally:
        cluster.up()
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def add_limited(exchange: ClusterExchange) -> None:
    """An account beside those who trade, with a limit of its own: its key is among theirs, its exception in a file."""
    keys, limits = exchange.folder / LIMITED_KEYS, exchange.folder / "limits.json"
    keys.write_bytes((exchange.folder / "keys.json").read_bytes())
    exchange.openbourse("keys", "create", "--file", keys, "--account", str(LIMITED))
    exchange.secret("demo-keys", **{"keys.json": keys.read_text()})
    most = ("--orders-per-10s", str(ORDERS_MOST), "--reason", "a limit that a test can reach")
    exchange.openbourse("limits", "set", "--file", limits, "--account", str(LIMITED), *most)
    exchange.kubectl("create", "configmap", "limits", f"--from-file={limits}")


@dataclass(frozen=True, slots=True)
class Pod:
    name: str
    node: str


def gateways(exchange: ClusterExchange) -> list[Pod]:
    """Those that serve."""
    found = exchange.cluster.get("-n", NAMESPACE, "pods", "-l", "app.kubernetes.io/component=gateway")["items"]
    return [
        Pod(pod["metadata"]["name"], pod["spec"]["nodeName"])
        for pod in found
        if "deletionTimestamp" not in pod["metadata"]
        and {"type": "Ready", "status": "True"}.items()
        <= next((c for c in pod["status"].get("conditions", ()) if c["type"] == "Ready"), {}).items()
    ]


def both_serve(exchange: ClusterExchange) -> list[Pod]:
    return eventually(lambda: found if len(found := gateways(exchange)) == 2 else [], 120)


def with_market_data(exchange: ClusterExchange) -> Pod:
    """A gateway on a node that has market data too, and not the ledger: it is moved there if there is none."""
    label = "app.kubernetes.io/component=marketdata"
    pods = exchange.cluster.get("-n", NAMESPACE, "pods", "-l", label)["items"]
    nodes = {pod["spec"]["nodeName"] for pod in pods} & set(ENGINES)

    def there() -> Pod | None:
        return next((pod for pod in both_serve(exchange) if pod.node in nodes), None)

    found = there()
    if found is None:
        away = next(pod for pod in both_serve(exchange) if pod.node != REST)
        with exchange.cluster.cordoned(*({*ENGINES, REST} - nodes)):
            exchange.kubectl("delete", "pod", away.name)
            found = eventually(there, READY_TIMEOUT_S)
    return found


Fault = Callable[[ClusterExchange, Pod], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def process_killed(exchange: ClusterExchange, pod: Pod) -> Iterator[None]:
    exchange.cluster.docker("exec", pod.node, "pkill", "-KILL", "-f", "python -m openbourse.gateway")
    yield


@contextlib.contextmanager
def pod_deleted(exchange: ClusterExchange, pod: Pod) -> Iterator[None]:
    exchange.kubectl("delete", "pod", pod.name, "--wait=false")
    yield


@contextlib.contextmanager
def node_killed(exchange: ClusterExchange, pod: Pod) -> Iterator[None]:
    exchange.cluster.docker("kill", pod.node)
    try:
        yield
    finally:
        exchange.cluster.up()


def expect_all_there(exchange: ClusterExchange, heard: Heard) -> None:
    """Whatever clients were told is so, once."""
    assert wrong_in_log(exchange, heard.acknowledged, exchange.leader()[0]) == []
    assert heard.gaps == []
    assert heard.refused == []
    assert heard.trades > 0


def figures(heard: Heard, since_s: float) -> str:
    connections = sum(map(len, heard.broken.values()))
    return (
        f"no client without an acknowledgement for longer than {heard.pause_ms(since_s):.0f} ms, "
        f"{len(heard.acknowledged)} orders, {connections} connections lost by {len(heard.broken)} of 8 clients, "
        f"{len(heard.unanswered)} orders without an answer, of which {len(heard.found)} were there"
    )


@pytest.mark.parametrize("fault", [process_killed, pod_deleted, node_killed], ids=lambda fault: fault.__name__)
def test_clients_come_again_and_no_order_is_lost_or_there_twice_when_a_gateway_is(
    exchange: ClusterExchange, fault: Fault, show: Show
) -> None:
    # Never the node of the ledger.
    victim = with_market_data(exchange)
    eventually(lambda: market_data_ready(exchange) == ("True", "Serving"), READY_TIMEOUT_S)
    with trading(exchange) as heard:
        began_s, before = time.monotonic(), len(heard.acknowledged)
        with fault(exchange, victim):
            time.sleep(LASTS_S)
            eventually(lambda: len(heard.acknowledged) > before + 100, 60)
        both_serve(exchange)
        time.sleep(LASTS_S)
    show(f"on the cluster, a gateway of two, {fault.__name__}: {figures(heard, began_s)}")
    assert heard.pause_ms(began_s) < PAUSE_MS_MOST
    expect_all_there(exchange, heard)


def test_a_rolling_update_of_the_gateways_refuses_nobody(exchange: ClusterExchange, show: Show) -> None:
    both_serve(exchange)
    with trading(exchange) as heard:
        began_s = time.monotonic()
        exchange.kubectl("rollout", "restart", "deployment/demo-gateway")
        exchange.kubectl("rollout", "status", "deployment/demo-gateway", timeout_s=READY_TIMEOUT_S)
        # The last of the old ones is still on its way out.
        eventually(lambda: len(pods(exchange)) == 2, READY_TIMEOUT_S)
        time.sleep(LASTS_S)
    show(f"on the cluster, a rolling update of two gateways: {figures(heard, began_s)}")
    expect_all_there(exchange, heard)
    # Streams end, and are said to; who orders notices nothing but that the next connection is another one.
    assert {client: why for client, why in heard.broken.items() if not client.startswith("listener")} == {}
    assert heard.unanswered == []


def pods(exchange: ClusterExchange) -> list[Any]:
    found: list[Any] = exchange.cluster.get("-n", NAMESPACE, "pods", "-l", "app.kubernetes.io/component=gateway")[
        "items"
    ]
    return found


def used_weight(port: int) -> int:
    answer = httpx.get(f"http://127.0.0.1:{port}/api/v3/ping", timeout=10)
    assert answer.status_code == 200
    return int(answer.headers["x-mbx-used-weight-1m"])


def test_what_one_gateway_counted_the_other_knows_and_without_redis_each_goes_on(exchange: ClusterExchange) -> None:
    one, other = both_serve(exchange)
    with (
        exchange.forwarded(NAMESPACE, f"pod/{one.name}", 8080) as first,
        exchange.forwarded(NAMESPACE, f"pod/{other.name}", 8080) as second,
    ):

        def is_shared() -> bool:
            """Unless a minute ends just then."""
            counted = [used_weight(first) for _ in range(5)]
            return used_weight(second) == counted[-1] + 1 and used_weight(first) == counted[-1] + 2

        assert eventually(is_shared, 20)
        with trading(exchange) as heard:
            exchange.kubectl("scale", "deployment/redis", "--replicas=0")
            exchange.kubectl("wait", "pod", "-l", "app.kubernetes.io/name=redis", "--for=delete", "--timeout=30s")
            before = len(heard.acknowledged)
            eventually(lambda: len(heard.acknowledged) > before + 50, 30)
            exchange.kubectl("scale", "deployment/redis", "--replicas=1")
            exchange.kubectl("rollout", "status", "deployment/redis", timeout_s=READY_TIMEOUT_S)
        assert heard.unanswered == []
        expect_all_there(exchange, heard)
        assert eventually(is_shared, 30)


async def test_a_limit_that_is_reached_over_both_gateways_is_reached_once(exchange: ClusterExchange) -> None:
    """Orders go through the one pod and the other in turn: each says how many there were, of both."""
    with exchange.ledger() as options:
        amount = ("--account", str(LIMITED), "--asset", "USDT", "--amount", "1000000")
        exchange.openbourse("ledger", "deposit", *amount, *options)
    key = next(key for key in read_keys(exchange.folder / LIMITED_KEYS) if key.account == LIMITED)
    one, other = both_serve(exchange)
    with (
        exchange.forwarded(NAMESPACE, f"pod/{one.name}", 8080) as first,
        exchange.forwarded(NAMESPACE, f"pod/{other.name}", 8080) as second,
    ):
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{first}", timeout=10, trust_env=False) as at_first,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{second}", timeout=10, trust_env=False) as at_second,
        ):
            both = Trader(at_first, key), Trader(at_second, key)
            await within_one_window(10, 8)
            # Below what others left in the book: they rest.
            answers = [await both[n % 2].place("BUY", "0.01", str(5_000 + n)) for n in range(2 * ORDERS_MOST)]
            statuses = [answer.status_code for answer in answers]
            assert statuses == [200] * ORDERS_MOST + [429] * ORDERS_MOST, answers[0].text
            assert {answer.json()["code"] for answer in answers[ORDERS_MOST:]} == {-1015}
            counts = [int(answer.headers["X-MBX-ORDER-COUNT-10S"]) for answer in answers]
            assert counts == list(range(1, 2 * ORDERS_MOST + 1))
            assert len({int(answer.headers["X-MBX-ORDER-COUNT-1D"]) for answer in answers}) == 2 * ORDERS_MOST
            of_day = [(await trader.call("GET", "/api/v3/rateLimit/order")).json()[1]["count"] for trader in both]
            assert of_day == [2 * ORDERS_MOST] * 2
            assert len(await both[0].open_orders()) == ORDERS_MOST
            assert len((await both[1].call("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")).json()) == ORDERS_MOST


def numbers() -> dict[str, Any]:
    """What the market data alone know."""
    asked: dict[str, dict[str, int | str]] = {
        "klines": {"interval": "1m", "limit": 1000},
        "historicalTrades": {"fromId": 1, "limit": 1000},
        "aggTrades": {"fromId": 1, "limit": 1000},
    }
    found = {}
    for path, parameters in asked.items():
        answer = httpx.get(f"{GATEWAY}/api/v3/{path}", params={"symbol": "BTCUSDT", **parameters}, timeout=10)
        answer.raise_for_status()
        found[path] = answer.json()
    # An empty candle more for each minute that goes by.
    found["klines"] = [candle for candle in found["klines"] if candle[8]]
    return found


def until_back(wanted: dict[str, Any] | None = None) -> tuple[dict[str, Any], float]:
    """The numbers, once they are there and those that are wanted, and the seconds until then: what has begun anew
    answers while it still reads.
    """
    began_s = time.monotonic()

    def there() -> dict[str, Any]:
        with contextlib.suppress(httpx.HTTPError):
            found = numbers()
            return found if wanted in (None, found) else {}
        return {}

    return eventually(there, BACK_S), time.monotonic() - began_s


def settled_numbers() -> dict[str, Any]:
    """Nothing, while market data still read what the load has left."""
    found = numbers()
    time.sleep(1)
    return found if found == numbers() else {}


def market_data_ready(exchange: ClusterExchange) -> tuple[str, str]:
    status = exchange.cluster.get("-n", NAMESPACE, "shard", "main")["status"]
    found = next(entry for entry in status["conditions"] if entry["type"] == "MarketDataReady")
    return found["status"], found["reason"]


def test_market_data_that_are_killed_or_lose_their_history_are_back_with_the_same_numbers(
    exchange: ClusterExchange, show: Show
) -> None:
    node = exchange.kubectl("get", "pod", MARKET_DATA, "-o", "jsonpath={.spec.nodeName}")
    with trading(exchange) as heard:
        began_s = time.monotonic()
        exchange.cluster.docker("exec", node, "pkill", "-KILL", "-f", "python -m openbourse.marketdata")
        time.sleep(1)
        _, killed_s = until_back()
        time.sleep(LASTS_S)
    assert heard.unanswered == [], "orders do not wait for market data"
    expect_all_there(exchange, heard)
    before = eventually(settled_numbers, BACK_S)
    assert len(before["historicalTrades"]) > 10
    exchange.kubectl("delete", "pod", MARKET_DATA, "--force", "--grace-period=0")
    _, deleted_s = until_back(before)
    exchange.kubectl("delete", "pvc", f"history-{MARKET_DATA}", "--wait=false")
    exchange.kubectl("delete", "pod", MARKET_DATA)
    _, lost_s = until_back(before)
    eventually(lambda: market_data_ready(exchange) == ("True", "Serving"), 30)
    show(
        f"on the cluster, market data back after {killed_s:.1f} s (killed under load), {deleted_s:.1f} s (deleted), "
        f"{lost_s:.1f} s (history lost, made anew); {figures(heard, began_s)}"
    )


def test_at_the_end_engine_and_ledger_are_equal(exchange: ClusterExchange) -> None:
    with exchange.ledger() as options:
        said = exchange.openbourse("ledger", "reconcile", *options)
    assert said.splitlines()[-1].startswith("equal at seq"), said
