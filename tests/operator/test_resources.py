"""What the API server makes of the custom resources: it takes the good ones, and says what is allowed to the others."""

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fixtures.websocket_apis import ed25519, private_pem, public_pem, rsa_key
from openbourse.contracts.api_key_bounds import PERMISSIONS
from openbourse.contracts.apiserver import ApiServer, Object, Refused, Resource
from openbourse.contracts.documents import parse_duration
from openbourse.contracts.resources import ApiKey, EngineShard, Exchange, Halt, Symbol, TradingLimit
from openbourse.contracts.resources.definitions import MODELS, files
from openbourse.operator.api_keys import entry_of

ROOT = Path(__file__).parents[2]
NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
_count = itertools.count()

EXCHANGE: dict[str, Any] = {
    "assets": [{"name": "BTC", "scale": 8}, {"name": "USDT", "scale": 6}],
    "image": "openbourse:dev",
    "ledger": {"databaseSecret": "database"},
    "gateway": {"keysSecret": "keys"},
}
SHARD = {"exchange": "demo"}
SYMBOL = {"exchange": "demo", "base": "BTC", "quote": "USDT", "tickSize": "0.01", "lotSize": "0.0001"}
HALT = {"exchange": "demo", "reason": "price feed is wrong", "duration": "15m"}
LIMIT = {"exchange": "demo", "account": 1001, "ordersPer10s": 500, "reason": "market maker"}
NETWORK = {"exchange": "demo", "address": "192.0.2.0/24", "weightPerMinute": 0, "reason": "abuse"}
ED25519, OTHER = (public_pem(ed25519()) for _ in range(2))
API_KEY = {"exchange": "demo", "account": 1001, "publicKey": ED25519}
NOT_PUBLIC_KEYS = (
    "",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI ann",
    ED25519.splitlines()[1],
    private_pem(ed25519()),
    public_pem(rsa_key(1024)),
    # Of a curve that is not taken.
    public_pem(ec.generate_private_key(ec.SECP256R1())),
    f"{ED25519}{ED25519}",
)
TWO_PERSON = {"exchange": "demo", "reason": "why", "untilLifted": True, "twoPerson": True, "requester": "ann"}


@pytest.fixture
async def namespace(api: ApiServer) -> str:
    name = f"resources-{next(_count)}"
    await api.create(NAMESPACES, {"metadata": {"name": name}})
    return name


def changed(spec: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """`spec` with the field at a dotted path set, or taken away (None)."""
    result = copy.deepcopy(spec)
    *folders, last = path.split(".")
    target: Any = result
    for folder in folders:
        target = target[int(folder)] if folder.isdigit() else target.setdefault(folder, {})
    if value is None:
        del target[last]
    else:
        target[last] = value
    return result


def manifest(namespace: str, name: str, spec: dict[str, Any]) -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


@pytest.mark.parametrize("folder", ["crds", "charts/openbourse/crds"])
def test_the_committed_definitions_are_the_models(folder: str) -> None:
    assert {file.name: file.read_text() for file in (ROOT / folder).glob("*.yaml")} == files()


def test_durations_are_read_as_they_are_written() -> None:
    assert [parse_duration(text).total_seconds() for text in ("90s", "15m", "1h30m", "1h1m1s")] == [90, 900, 5400, 3661]
    for text in ("", "0s", "15", "1d", "m", "1m1h", "-1m"):
        with pytest.raises(ValueError, match="such as 90s, 15m or 1h30m"):
            parse_duration(text)


@pytest.mark.server
async def test_the_definitions_are_structural_and_named_as_kubectl_calls_them(api: ApiServer) -> None:
    for model in MODELS:
        name = f"{model.resource.plural}.{model.resource.group}"
        stored = await api.get(DEFINITIONS, None, name)
        assert stored is not None
        conditions = {entry["type"]: entry["status"] for entry in stored["status"]["conditions"]}
        assert (conditions["NamesAccepted"], conditions["Established"]) == ("True", "True")
        assert conditions.get("NonStructuralSchema", "False") == "False"
        assert stored["spec"]["names"]["categories"] == ["bourse"]


@pytest.mark.server
async def test_defaults_are_filled_in_and_read_back(api: ApiServer, namespace: str) -> None:
    exchange = Exchange.model_validate(await api.create(Exchange.resource, manifest(namespace, "demo", EXCHANGE)))
    assert (exchange.spec.gateway.replicas, exchange.spec.gateway.service.type) == (1, "ClusterIP")
    stored = await api.create(EngineShard.resource, manifest(namespace, "main", {"exchange": "demo"}))
    assert stored["spec"]["storage"] == {"size": "1Gi"}
    assert EngineShard.model_validate(stored).spec.resources.limits == {"memory": "1Gi"}
    assert (stored["spec"]["standbys"], stored["spec"]["minInSync"]) == (1, 1)
    stored = await api.create(Symbol.resource, manifest(namespace, "btcusdt", SYMBOL))
    assert (stored["spec"]["shard"], stored["spec"]["maxPrice"], stored["spec"]["takerFee"]) == (
        "main",
        "1000000",
        "0.001",
    )
    assert (stored["spec"]["selfTradePrevention"], stored["spec"]["feeCharge"]) == ("ExpireMaker", "Received")
    assert stored["spec"]["bidBand"] == {"lowest": "0", "highest": "0"}
    halt = Halt.model_validate(await api.create(Halt.resource, manifest(namespace, "stop", HALT)))
    assert (halt.spec.mode, halt.spec.symbols, halt.spec.reopen.mode) == ("HALT", (), "TRADING")
    assert halt.metadata.creation_timestamp is not None
    assert halt.ends_at is not None
    assert (halt.ends_at - halt.metadata.creation_timestamp).total_seconds() == 900


REFUSED: list[tuple[type, str, dict[str, Any], str]] = [
    (Exchange, "a-very-long-name-of-an-exchange", EXCHANGE, "may have at most 20 characters"),
    (Exchange, "de.mo", EXCHANGE, "the name of an Exchange may have at most 20 characters"),
    (Exchange, "demo", changed(EXCHANGE, "assets", []), "should have at least 1 items"),
    (Exchange, "demo", changed(EXCHANGE, "assets.0.name", "btc"), "must be the name of an asset: 1 to 16 characters"),
    (Exchange, "demo", changed(EXCHANGE, "assets.0.scale", 19), "should be less than or equal to 18"),
    (Exchange, "demo", changed(EXCHANGE, "assets.1.name", "BTC"), "Duplicate value"),
    (Exchange, "demo", changed(EXCHANGE, "gateway.service.nodePort", 30080), "only with type NodePort"),
    (Exchange, "demo", changed(EXCHANGE, "gateway.replicas", -1), "should be greater than or equal to 0"),
    (Exchange, "demo", changed(EXCHANGE, "image", None), "spec.image: Required value"),
    (Exchange, "demo", changed(EXCHANGE, "safety.settlementLag.haltSeconds", -1), "greater than or equal to 0"),
    (Exchange, "demo", changed(EXCHANGE, "safety.settlementLag.throttleSeconds", 15), "must grow in this order"),
    (Exchange, "demo", changed(EXCHANGE, "safety.settlementLag.cancelOnlySeconds", 61), "must grow in this order"),
    (
        Exchange,
        "demo",
        changed(EXCHANGE, "safety.settlementLag", {"cancelOnlySeconds": 0, "throttleSeconds": 70}),
        "must grow in this order, those that are not 0",
    ),
    (Exchange, "demo", changed(EXCHANGE, "safety.throttledOrdersPerSecond", 0), "must be at least 1 where"),
    (Exchange, "demo", changed(EXCHANGE, "imag", "x"), 'unknown field "spec.imag"'),
    (EngineShard, "9main", {"exchange": "demo"}, "begins with a letter"),
    (EngineShard, "main", {"exchange": "demo", "storage": {"size": "big"}}, "must be a size such as 10Gi"),
    (EngineShard, "main", {"exchange": "demo", "resources": {"limits": {"cpu": "x"}}}, "amounts such as 500m"),
    (EngineShard, "main", {"exchange": "demo", "standbys": 3}, "should be less than or equal to 2"),
    (EngineShard, "main", {"exchange": "demo", "standbys": -1}, "should be greater than or equal to 0"),
    (EngineShard, "main", {"exchange": "demo", "minInSync": 3}, "minInSync may be at most standbys + 1"),
    (EngineShard, "main", {"exchange": "demo", "standbys": 0, "minInSync": 2}, "minInSync may be at most standbys + 1"),
    (EngineShard, "main", {"exchange": "demo", "minInSync": 0}, "should be greater than or equal to 1"),
    (Symbol, "btc-usdt", SYMBOL, "base and quote in lower case, such as btcusdt"),
    (Symbol, "btcbtc", changed(SYMBOL, "quote", "BTC"), "base and quote must be two assets"),
    (Symbol, "btcusdt", changed(SYMBOL, "tickSize", "1e-2"), "must be a decimal number such as 12.5"),
    (Symbol, "btcusdt", changed(SYMBOL, "tickSize", "-1"), "without sign or exponent"),
    (Symbol, "btcusdt", changed(SYMBOL, "tickSize", "0.00"), "tickSize must be greater than 0"),
    (Symbol, "btcusdt", changed(SYMBOL, "lotSize", "0"), "lotSize must be greater than 0"),
    (Symbol, "btcusdt", changed(SYMBOL, "lotSize", "0.00000000000000001"), "together may have at most 18 decimals"),
    (Symbol, "btcusdt", changed(SYMBOL, "maxPrice", "0"), "maxPrice must be greater than 0"),
    (Symbol, "btcusdt", changed(SYMBOL, "takerFee", "0.11"), "takerFee may be at most 0.1"),
    (Symbol, "btcusdt", changed(SYMBOL, "makerFee", "0.0000001"), "makerFee may have at most 6 decimals"),
    (Symbol, "btcusdt", changed(SYMBOL, "minPrice", "1000001"), "minPrice may be at most maxPrice"),
    (Symbol, "btcusdt", changed(SYMBOL, "marketMaxQuantity", "9001"), "marketMaxQuantity may be at most maxQuantity"),
    (Symbol, "btcusdt", changed(changed(SYMBOL, "maxNotional", "5"), "minNotional", "6"), "at most maxNotional"),
    (Symbol, "btcusdt", changed(SYMBOL, "feeCharge", "Base"), 'supported values: "Received", "Quote"'),
    (Symbol, "btcusdt", changed(SYMBOL, "selfTradePrevention", "EXPIRE_MAKER"), 'supported values: "None"'),
    (Symbol, "btcusdt", changed(SYMBOL, "bidBand.lowest", "twice"), "must be a decimal number such as 12.5"),
    (Symbol, "btcusdt", changed(SYMBOL, "askBand", {"lowest": "2", "highest": "1"}), "at most askBand.highest"),
    (Symbol, "btcusdt", changed(SYMBOL, "averageMinutes", 61), "should be less than or equal to 60"),
    (Symbol, "btcusdt", changed(SYMBOL, "marketCollar", "1"), "marketCollar must be less than 1"),
    (Symbol, "btcusdt", changed(SYMBOL, "dynamicBand", "0.0000001"), "dynamicBand may have at most 6 decimals"),
    (Symbol, "btcusdt", changed(SYMBOL, "volatilityAuction", "0s"), "volatilityAuction must be a time such as 90s"),
    (Halt, "stop", changed(HALT, "reopen", {"mode": "AUCTION"}), "seconds says how long POST_ONLY or AUCTION takes"),
    (Halt, "stop", changed(HALT, "reopen", {"seconds": 5}), "TRADING comes at once and has none"),
    (Halt, "stop", changed(HALT, "reopen", {"mode": "HALT"}), 'supported values: "TRADING", "POST_ONLY", "AUCTION"'),
    (Halt, "stop", changed(HALT, "duration", None), "give exactly one of duration"),
    (Halt, "stop", changed(HALT, "untilLifted", True), "give exactly one of duration"),
    (Halt, "stop", changed(changed(HALT, "duration", None), "untilLifted", False), "give exactly one of duration"),
    (Halt, "stop", changed(HALT, "duration", "1d"), "must be a time such as 90s, 15m or 1h30m"),
    (Halt, "stop", changed(HALT, "duration", "0m"), "must be a time such as 90s, 15m or 1h30m"),
    (Halt, "stop", changed(HALT, "reason", None), "spec.reason: Required value"),
    (Halt, "stop", changed(HALT, "reason", " "), "reason must say why"),
    (Halt, "stop", changed(HALT, "reason", "x" * 257), "may not be more than 256"),
    (Halt, "stop", changed(HALT, "mode", "PAUSE"), 'supported values: "HALT", "CANCEL_ONLY", "POST_ONLY"'),
    (Halt, "stop", changed(HALT, "symbols", ["btc/usdt"]), "must be the name of a symbol"),
    (Halt, "stop", HALT | {"symbols": ["BTCUSDT"], "shards": ["main"]}, "give symbols or shards, not both"),
    (Halt, "stop", HALT | {"shards": ["s" * 21]}, "may not be more than 20"),
    (Halt, "stop", HALT | {"twoPerson": True, "requester": "ann"}, "stands until a second person lifts it"),
    (Halt, "stop", changed(TWO_PERSON, "requester", None), "a Halt with twoPerson says who asks for it"),
    (TradingLimit, "l", changed(LIMIT, "account", None), "give exactly one of account, apiKey and address"),
    (TradingLimit, "l", LIMIT | {"apiKey": "k" * 16}, "give exactly one of account, apiKey and address"),
    (TradingLimit, "l", changed(LIMIT, "account", 999), "should be greater than or equal to 1000"),
    (TradingLimit, "l", changed(LIMIT, "ordersPer10s", None), "says ordersPer10s or ordersPerDay, and nothing else"),
    (TradingLimit, "l", LIMIT | {"weightPerMinute": 1}, "says ordersPer10s or ordersPerDay, and nothing else"),
    (TradingLimit, "l", changed(LIMIT, "ordersPer10s", -1), "should be greater than or equal to 0"),
    (TradingLimit, "l", changed(LIMIT, "reason", " "), "reason must say why"),
    (TradingLimit, "l", LIMIT | {"until": "tomorrow"}, "spec.until"),
    *(
        (TradingLimit, "l", changed(NETWORK, "address", address), "must be an address such as 192.0.2.7, or a network")
        for address in ("here", "192.0.2.1/24", "192.0.2.0/33", "2001:db8::5", "2001:db8::/65")
    ),
    (TradingLimit, "l", changed(NETWORK, "weightPerMinute", None), "a limit of address says weightPerMinute"),
    (ApiKey, "k", changed(API_KEY, "account", 999), "should be greater than or equal to 1000"),
    (ApiKey, "k", changed(API_KEY, "account", "1001"), "must be of type integer"),
    (ApiKey, "k", changed(API_KEY, "publicKey", None), "spec.publicKey: Required value"),
    *(
        (ApiKey, "k", changed(API_KEY, "publicKey", pem), "must be a public key in PEM (-----BEGIN PUBLIC KEY-----)")
        for pem in NOT_PUBLIC_KEYS
    ),
    (ApiKey, "k", changed(API_KEY, "permissions", ["WITHDRAW"]), 'supported values: "TRADE", "USER_DATA"'),
    (ApiKey, "k", changed(API_KEY, "permissions", []), "should have at least 1 items"),
    (ApiKey, "k", changed(API_KEY, "permissions", ["TRADE", "TRADE"]), "Duplicate value"),
    *(
        (ApiKey, "k", changed(API_KEY, "addresses", [address]), "must be an address such as 10.0.0.7, or a network")
        for address in ("here", "192.0.2.1/24", "192.0.2.0/33", "::ffff:192.0.2.7")
    ),
    (ApiKey, "k", changed(API_KEY, "addresses", [f"10.0.0.{n}" for n in range(65)]), "must have at most 64 items"),
    (ApiKey, "k", changed(API_KEY, "expires", "2027-01-01"), "spec.expires"),
    (ApiKey, "k", changed(API_KEY, "apiKey", "too-short"), "must be an API key: 16 to 64 letters and digits"),
    (ApiKey, "k", API_KEY | {"secret": "s" * 64}, 'unknown field "spec.secret"'),
    (Exchange, "demo", changed(EXCHANGE, "gateway.trustedProxies", ["10.0.0.1/8"]), "without bits behind its prefix"),
    (
        Exchange,
        "demo",
        changed(EXCHANGE, "gateway.keysToken", {"module": "hsm.so", "label": "keys", "pinSecret": "pin"}),
        "must be the whole path of a library",
    ),
    (Halt, "s" * 64, HALT, "the name of a Halt may have at most 63 characters"),
]


@pytest.mark.server
async def test_what_a_limit_is_for_is_taken_in_each_of_its_forms(api: ApiServer, namespace: str) -> None:
    key = {"exchange": "demo", "apiKey": "k" * 64, "requestsPer5m": 1, "reason": "r", "until": "2026-12-01T00:00:00Z"}
    networks = ("192.0.2.7", "192.0.2.0/24", "2001:db8::/64", "2001:db8::/32")
    specs = [LIMIT, key, *(changed(NETWORK, "address", address) for address in networks)]
    for number, spec in enumerate(specs):
        stored = await api.create(TradingLimit.resource, manifest(namespace, f"l-{number}", spec))
        assert TradingLimit.model_validate(stored).spec.override().said()
    proxies = changed(EXCHANGE, "gateway.trustedProxies", ["10.0.0.0/8", "2001:db8::1"])
    await api.create(Exchange.resource, manifest(namespace, "demo", proxies))


@pytest.mark.server
async def test_a_key_is_taken_with_each_kind_of_public_key_and_may_do_all_unless_said(
    api: ApiServer, namespace: str
) -> None:
    whole = {
        **{"apiKey": "k" * 16, "permissions": ["USER_DATA"], "expires": "2027-01-01T00:00:00Z", "label": "desk 7"},
        "addresses": [*(f"10.0.{n}.0/24" for n in range(62)), "192.0.2.7", "2001:db8::/32"],
    }
    for number, pem in enumerate(
        [ED25519, ED25519.replace("\n", "\r\n"), *(public_pem(rsa_key(n)) for n in (2048, 4096))]
    ):
        for part, more in (("all", {}), ("some", whole)):
            spec = API_KEY | {"publicKey": pem} | more
            stored = await api.create(ApiKey.resource, manifest(namespace, f"{part}-{number}", spec))
            made = ApiKey.model_validate(stored)
            key = entry_of(made.spec, made.metadata.creation_timestamp)
            assert key.permissions == (("USER_DATA",) if more else PERMISSIONS)
            assert (key.api_key == "k" * 16, len(key.addresses)) == ((True, 64) if more else (False, 0))


@pytest.mark.server
@pytest.mark.parametrize(("model", "name", "spec", "sentence"), REFUSED)
async def test_the_api_server_refuses_it_with_what_is_allowed(
    api: ApiServer, namespace: str, model: Any, name: str, spec: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Refused) as refusal:
        await api.create(model.resource, manifest(namespace, name, spec))
    assert sentence in str(refusal.value)
    assert await api.get(model.resource, namespace, name) is None


FIXED: list[tuple[type, str, dict[str, Any], dict[str, Any], str]] = [
    (Exchange, "demo", EXCHANGE, changed(EXCHANGE, "assets.0.scale", 6), "an asset's scale never changes"),
    (Exchange, "demo", EXCHANGE, changed(EXCHANGE, "assets", EXCHANGE["assets"][:1]), "that was listed stays"),
    (EngineShard, "main", SHARD, {"exchange": "other"}, "a shard stays with its exchange"),
    (
        EngineShard,
        "main",
        {"exchange": "demo"},
        {"exchange": "demo", "storage": {"size": "512Mi"}},
        "a volume may grow, and never shrinks",
    ),
    (
        EngineShard,
        "main",
        {"exchange": "demo"},
        {"exchange": "demo", "storage": {"size": "1Gi", "storageClassName": "fast"}},
        "the storage class of a volume is fixed",
    ),
    (EngineShard, "main", SHARD, {"exchange": "demo", "standbys": 0}, "standbys may be added, not taken away"),
    *((Symbol, "btcusdt", SYMBOL, changed(SYMBOL, f, "0.1"), f"{f} never changes") for f in ("tickSize", "lotSize")),
    (Symbol, "btcusdt", SYMBOL, changed(SYMBOL, "exchange", "x"), "exchange never changes"),
    (TradingLimit, "l", LIMIT, changed(LIMIT, "account", 1002), "what a TradingLimit is for never changes"),
    (TradingLimit, "l", LIMIT, changed(LIMIT, "exchange", "other"), "a TradingLimit stays with its exchange"),
    (ApiKey, "k", API_KEY, changed(API_KEY, "account", 1002), "an ApiKey stays with its account"),
    (ApiKey, "k", API_KEY, changed(API_KEY, "exchange", "other"), "an ApiKey stays with its exchange"),
    (ApiKey, "k", API_KEY, changed(API_KEY, "publicKey", OTHER), "another public key is another ApiKey"),
    (ApiKey, "k", API_KEY, changed(API_KEY, "apiKey", "k" * 16), "what a key is called never changes"),
    (Halt, "stop", HALT, changed(HALT, "duration", "30m"), "a Halt never changes: delete it to lift it"),
]


@pytest.mark.server
@pytest.mark.parametrize(("model", "name", "spec", "other", "sentence"), FIXED)
async def test_what_never_changes_is_kept(
    api: ApiServer, namespace: str, model: Any, name: str, spec: dict[str, Any], other: dict[str, Any], sentence: str
) -> None:
    stored = await api.create(model.resource, manifest(namespace, name, spec))
    with pytest.raises(Refused) as refusal:
        await api.replace(model.resource, stored | {"spec": other})
    assert sentence in str(refusal.value)


@pytest.mark.server
async def test_what_may_change_is_changed(api: ApiServer, namespace: str) -> None:
    stored = await api.create(Exchange.resource, manifest(namespace, "demo", EXCHANGE))
    more = changed(EXCHANGE, "assets", [*EXCHANGE["assets"], {"name": "ETH", "scale": 8}])
    assert (await api.replace(Exchange.resource, stored | {"spec": more}))["metadata"]["generation"] == 2
    stored = await api.create(Symbol.resource, manifest(namespace, "btcusdt", SYMBOL))
    cheaper = changed(SYMBOL, "takerFee", "0.0005")
    assert (await api.replace(Symbol.resource, stored | {"spec": cheaper}))["spec"]["takerFee"] == "0.0005"
    stored = await api.create(EngineShard.resource, manifest(namespace, "main", {"exchange": "demo", "standbys": 0}))
    more = {"exchange": "demo", "standbys": 2, "minInSync": 2}
    assert (await api.replace(EngineShard.resource, stored | {"spec": more}))["spec"]["minInSync"] == 2
