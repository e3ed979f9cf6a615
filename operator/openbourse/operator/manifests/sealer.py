"""What seals an exchange's ledger as objects: one pod with a SoftHSM token and an archive, a volume for each.

Neither volume is ever deleted here. The first key is made by a person, in the pod; the witness is somebody else's.
"""

from openbourse.contracts.apiserver import Object
from openbourse.contracts.resources import Exchange
from openbourse.contracts.resources.engine_shard import Storage
from openbourse.contracts.resources.exchange import SealSpec
from openbourse.operator.manifests import kinds, ledger, names, telemetry
from openbourse.operator.manifests.objects import (
    allow,
    claim,
    container,
    mount,
    network_policy,
    owned,
    pod_template,
    secret_volume,
    service,
)

STATUS_PORT = 7201
PIN_KEY = "pin"
PIN_FOLDER = "/etc/openbourse/pin"
TOKEN_FOLDER = "/var/lib/openbourse/token"  # noqa: S105 - a folder
ARCHIVE_FOLDER = "/var/lib/openbourse/archive"
# Where Debian, and so our image, has it.
MODULE = "/usr/lib/softhsm/libsofthsm2.so"
LABEL = "seal"
_PORTS = {"status": STATUS_PORT}


def network(exchange: Exchange) -> list[Object]:
    """Its status alone is asked."""
    name, labels = names.sealer(exchange.metadata.name), names.labels(exchange, names.SEALER)
    selector = names.selector(exchange, names.SEALER)
    return [
        service(name, exchange, labels, selector, _PORTS),
        network_policy(name, exchange, labels, selector, [allow(["status"])]),
    ]


def stateful_set(exchange: Exchange, seal: SealSpec) -> Object:
    name, labels = names.sealer(exchange.metadata.name), names.labels(exchange, names.SEALER)
    selector = names.selector(exchange, names.SEALER)
    # Below the volume's root, whose rights are not ours.
    token = f"{TOKEN_FOLDER}/softhsm"
    environment = [
        ledger.database(exchange, ledger.SEALER_KEY),
        *(
            {"name": variable, "value": value}
            for variable, value in (
                ("OPENBOURSE_ORIGIN", seal.origin),
                ("OPENBOURSE_PKCS11_MODULE", MODULE),
                ("OPENBOURSE_PKCS11_TOKEN", LABEL),
                ("OPENBOURSE_PKCS11_PIN_FILE", f"{PIN_FOLDER}/{PIN_KEY}"),
                ("SOFTHSM2_CONF", f"{token}/softhsm2.conf"),
            )
        ),
    ]
    with_token = [mount("pin", PIN_FOLDER), {"name": "token", "mountPath": TOKEN_FOLDER}]
    make_token = container(
        component="token",
        image=exchange.spec.image,
        command=["openbourse.ledger.seal", "token", "--folder", token],
        env=environment,
        mounts=with_token,
        has_status=False,
    )
    sealer = container(
        component=names.SEALER,
        image=exchange.spec.image,
        command=[
            "openbourse.ledger.seal",
            "serve",
            *("--origin", seal.origin),
            *("--archive", ARCHIVE_FOLDER),
            *("--status", f"0.0.0.0:{STATUS_PORT}"),
            *(("--witness", seal.witness.url, "--witness-key", seal.witness.key) if seal.witness else ()),
        ],
        env=[*environment, *telemetry.environment(exchange)],
        ports=_PORTS,
        mounts=[*with_token, {"name": "archive", "mountPath": ARCHIVE_FOLDER}],
    )
    template = pod_template(
        labels=labels,
        annotations={},
        containers=[sealer],
        volumes=[secret_volume("pin", seal.pin_secret)],
        before=[make_token],
    )
    return owned(
        kinds.STATEFUL_SET,
        name,
        exchange,
        labels,
        spec={
            # Never two: they would wait for each other, and a token is on one volume.
            "replicas": 1,
            "serviceName": name,
            "selector": {"matchLabels": selector},
            # One that waits for its key is replaced nevertheless.
            "podManagementPolicy": "Parallel",
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "template": template,
            "volumeClaimTemplates": [
                claim("token", selector, Storage(size="16Mi")),
                claim("archive", selector, seal.archive),
            ],
        },
    )
