"""The gateways of an exchange as objects: replicas without state behind one service."""

import base64
from collections.abc import Sequence

from openbourse.contracts.apiserver import Object
from openbourse.contracts.component import Component
from openbourse.contracts.resources import EngineShard, Exchange
from openbourse.operator.manifests import engine, kinds, ledger, marketdata, names, telemetry
from openbourse.operator.manifests.objects import (
    TLS_FOLDER,
    allow,
    container,
    disruption_budget,
    mount,
    network_policy,
    owned,
    pod_template,
    secret_volume,
    service,
    spread,
)

PORT = 8080
STATUS_PORT = 8081
# For people with certificates.
ADMIN_PORT = 8443
KEYS_FOLDER = "/etc/openbourse/keys"
KEYS_FILE = "keys.json"
# Of the ApiKeys, made by the operator: public keys alone.
API_KEYS_FOLDER = "/etc/openbourse/api-keys"
API_KEYS = f"{API_KEYS_FOLDER}/{KEYS_FILE}"
LIMITS_FOLDER = "/etc/openbourse/limits"
LIMITS_FILE = "limits.json"
# Of the TradingLimits, made by the operator.
TRADING_LIMITS_FOLDER = "/etc/openbourse/trading-limits"
TRADING_LIMITS = f"{TRADING_LIMITS_FOLDER}/{LIMITS_FILE}"
PIN_FOLDER = "/etc/openbourse/pin"
PIN_KEY = "pin"
REDIS_FOLDER = "/etc/openbourse/redis"
REDIS_KEY = "url"
REDIS_AUTHORITY = "ca.crt"
# So long a pod that is to go still serves everybody, while Services and load balancers forget it; then it stops, which
# takes as long as what is under way.
LEAVING_S = 4
STOPS_S = 30
_PORTS = {"http": PORT, "status": STATUS_PORT, "admin": ADMIN_PORT}


def secrets(exchange: Exchange) -> list[tuple[str, tuple[str, ...]]]:
    """What a gateway starts with, that a person gives: each Secret, and what it has to have."""
    wanted = exchange.spec.gateway
    return [
        (wanted.keys_secret, (KEYS_FILE,)),
        *([(wanted.keys_token.pin_secret, (PIN_KEY,))] if wanted.keys_token is not None else ()),
        *([(wanted.redis_secret, (REDIS_KEY,))] if wanted.redis_secret is not None else ()),
    ]


def network(exchange: Exchange) -> list[Object]:
    name, labels = names.gateway(exchange.metadata.name), names.labels(exchange, Component.GATEWAY)
    selector = names.selector(exchange, Component.GATEWAY)
    wanted = exchange.spec.gateway.service
    entry = service(name, exchange, labels, selector, {"http": PORT})
    entry["spec"]["type"] = wanted.type
    if wanted.node_port is not None:
        entry["spec"]["ports"][0]["nodePort"] = wanted.node_port
    return [
        entry,
        network_policy(name, exchange, labels, selector, [allow(["http"]), allow(["status"])]),
        disruption_budget(name, exchange, labels, selector, unavailable=1),
    ]


def trading_limits(exchange: Exchange, document: str) -> Object:
    name, labels = names.trading_limits(exchange.metadata.name), names.labels(exchange, Component.GATEWAY)
    return owned(kinds.CONFIG_MAP, name, exchange, labels, data={LIMITS_FILE: document})


def api_keys(exchange: Exchange, document: bytes) -> Object:
    """A Secret though it has none: who may write ConfigMaps shall make no key."""
    name, labels = names.api_keys(exchange.metadata.name), names.labels(exchange, Component.GATEWAY)
    data = {KEYS_FILE: base64.b64encode(document).decode()}
    return owned(kinds.SECRET, name, exchange, labels, type="Opaque", data=data)


def deployment(exchange: Exchange, shards: Sequence[EngineShard], *, redis_has_authority: bool) -> Object:
    """Each serves all shards. A new gateway serves before an old one goes, also when a shard comes or goes.

    `redis_has_authority`: the Secret of Redis has the authority of its certificate.
    """
    name, labels = names.gateway(exchange.metadata.name), names.labels(exchange, Component.GATEWAY)
    selector = names.selector(exchange, Component.GATEWAY)
    limits, token = exchange.spec.gateway.limits_config_map, exchange.spec.gateway.keys_token
    in_order = sorted(shards, key=lambda shard: shard.metadata.name)
    gateway = container(
        component=Component.GATEWAY,
        image=exchange.spec.image,
        command=[
            "openbourse.gateway",
            *(word for shard in in_order for word in _shard_arguments(exchange, shard)),
            # The last one has the secrets; a gateway from before there could be two takes that one alone.
            *("--keys", API_KEYS),
            *("--keys", f"{KEYS_FOLDER}/{KEYS_FILE}"),
            # The first one counts; a gateway from before there were two takes the last one.
            *("--limits", TRADING_LIMITS),
            *(("--limits", f"{LIMITS_FOLDER}/{LIMITS_FILE}") if limits is not None else ()),
            *("--listen", f"0.0.0.0:{PORT}"),
            *("--status", f"0.0.0.0:{STATUS_PORT}"),
            *("--admin", f"0.0.0.0:{ADMIN_PORT}"),
            *(word for proxy in exchange.spec.gateway.trusted_proxies for word in ("--trusted-proxy", proxy)),
            *("--tls", TLS_FOLDER),
        ],
        env=[
            *_token_environment(exchange),
            *_redis_environment(exchange, has_authority=redis_has_authority),
            *telemetry.environment(exchange),
        ],
        ports=_PORTS,
        mounts=[
            mount("tls", TLS_FOLDER),
            mount("keys", KEYS_FOLDER),
            mount("api-keys", API_KEYS_FOLDER),
            *([mount("pin", PIN_FOLDER)] if token is not None else ()),
            mount("trading-limits", TRADING_LIMITS_FOLDER),
            *([mount("limits", LIMITS_FOLDER)] if limits is not None else ()),
            *([mount("redis", REDIS_FOLDER)] if redis_has_authority else ()),
        ],
    )
    gateway["lifecycle"] = {"preStop": {"sleep": {"seconds": LEAVING_S}}}
    template = pod_template(
        labels=labels,
        annotations={},
        containers=[gateway],
        volumes=[
            secret_volume("tls", names.certificate(name)),
            secret_volume("keys", exchange.spec.gateway.keys_secret),
            secret_volume("api-keys", names.api_keys(exchange.metadata.name)),
            *([secret_volume("pin", token.pin_secret)] if token is not None else ()),
            {"name": "trading-limits", "configMap": {"name": names.trading_limits(exchange.metadata.name)}},
            *([{"name": "limits", "configMap": {"name": limits}}] if limits is not None else ()),
            *_redis_volume(exchange, has_authority=redis_has_authority),
        ],
    )
    template["spec"] |= spread(selector, strictly=False) | {"terminationGracePeriodSeconds": LEAVING_S + STOPS_S}
    return owned(
        kinds.DEPLOYMENT,
        name,
        exchange,
        labels,
        spec={
            "replicas": exchange.spec.gateway.replicas,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": selector},
            "template": template,
        },
    )


def _shard_arguments(exchange: Exchange, shard: EngineShard) -> list[str]:
    """What follows a --shard is of that one."""
    return [
        *("--shard", shard.metadata.name),
        *engine.client_arguments(exchange, shard),
        *("--ledger", f"https://{names.ledger(exchange.metadata.name, shard.metadata.name)}:{ledger.PORT}"),
        *marketdata.gateway_arguments(exchange, shard),
    ]


def _token_environment(exchange: Exchange) -> list[Object]:
    token = exchange.spec.gateway.keys_token
    if token is None:
        return []
    said = {"MODULE": token.module, "TOKEN": token.label, "PIN_FILE": f"{PIN_FOLDER}/{PIN_KEY}"}
    return [{"name": f"OPENBOURSE_PKCS11_{name}", "value": value} for name, value in said.items()]


def _redis_environment(exchange: Exchange, *, has_authority: bool) -> list[Object]:
    secret = exchange.spec.gateway.redis_secret
    if secret is None:
        return []
    url = {"name": "OPENBOURSE_REDIS", "valueFrom": {"secretKeyRef": {"name": secret, "key": REDIS_KEY}}}
    authority = {"name": "OPENBOURSE_REDIS_CA", "value": f"{REDIS_FOLDER}/{REDIS_AUTHORITY}"}
    return [url, *([authority] if has_authority else ())]


def _redis_volume(exchange: Exchange, *, has_authority: bool) -> list[Object]:
    """The authority alone: the url is none of a file's."""
    secret = exchange.spec.gateway.redis_secret
    if secret is None or not has_authority:
        return []
    volume = secret_volume("redis", secret)
    volume["secret"]["items"] = [{"key": REDIS_AUTHORITY, "path": REDIS_AUTHORITY}]
    return [volume]
