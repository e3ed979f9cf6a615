"""The seal of `openbourse local`: a SoftHSM token, a sealer and a witness, in the exchange's folder.

All of it is made at the first start. Trading never waits for it, and an exchange that cannot be sealed says why. A
witness in the same hands as the ledger proves nothing to others: it is here so that everything can be tried.
"""

import secrets
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from openbourse.cli.processes import Child, ChildFailed, run_to_end
from openbourse.contracts import durable
from openbourse.ledger.errors import LedgerError
from openbourse.ledger.seal import keys, notes, soft_hsm

ORIGIN = "openbourse.local/ledger"
WITNESS = "openbourse.local/witness"
LABEL = "seal"
ONCE_TIMEOUT_S = 60.0
ASK_TIMEOUT_S = 5.0


class NotSealed(Exception):
    """Why this exchange is not sealed, and what to do."""


@dataclass(frozen=True, slots=True)
class SealFolder:
    """Where everything is. `logs` is the exchange's."""

    folder: Path
    logs: Path
    dsn: str

    @property
    def public_key(self) -> Path:
        return self.folder / "seal.pem"

    @property
    def settings(self) -> Path:
        """To be sourced by a shell in which `openbourse ledger` shall find database and token."""
        return self.folder / "env"

    def environment(self, module: Path) -> dict[str, str]:
        return {
            "OPENBOURSE_DATABASE": self.dsn,
            "OPENBOURSE_ORIGIN": ORIGIN,
            "OPENBOURSE_PKCS11_MODULE": str(module),
            "OPENBOURSE_PKCS11_TOKEN": LABEL,
            "OPENBOURSE_PKCS11_PIN_FILE": str(self.folder / "pin"),
            "SOFTHSM2_CONF": str(self.folder / "token" / soft_hsm.CONFIGURATION),
        }


async def start(seal: SealFolder, status_port: int, witness_port: int, started: list[Child]) -> None:
    """Adds what it starts to `started`, the witness before the sealer. Raises NotSealed."""
    module = soft_hsm.module()
    if module is None:
        raise NotSealed("SoftHSM, which keeps the key, is not installed: apt-get install softhsm2, and start again")
    try:
        environment = _prepare(seal, module)
        await _make_key(seal, environment)
        witness = _child(
            *(seal, "witness", witness_port, "/readyz", environment),
            *("--name", WITNESS, "--state", str(seal.folder / "witness"), "--log-key", str(seal.public_key)),
            *("--listen", f"127.0.0.1:{witness_port}"),
        )
        started.append(witness)
        await witness.start()
        url = f"http://127.0.0.1:{witness_port}"
        sealer = _child(
            *(seal, "serve", status_port, "/livez", environment),
            *("--origin", ORIGIN, "--archive", str(seal.folder / "archive"), "--status", f"127.0.0.1:{status_port}"),
            *("--witness", url, "--witness-key", await _key_of_witness(url)),
        )
        started.append(sealer)
        await sealer.start()
    except (ChildFailed, LedgerError, OSError, httpx.HTTPError) as error:
        raise NotSealed(str(error) or type(error).__name__) from error


def _prepare(seal: SealFolder, module: Path) -> dict[str, str]:
    """The folder, the PIN and the file of settings, each readable by its owner alone."""
    (seal.folder / "archive").mkdir(parents=True, exist_ok=True)
    seal.folder.chmod(0o700)
    pin = seal.folder / "pin"
    if not pin.exists():
        durable.write(pin, secrets.token_hex(16).encode(), mode=0o600)
    environment = seal.environment(module)
    exports = (f"export {name}={shlex.quote(value)}" for name, value in environment.items())
    durable.write(seal.settings, "\n".join([*exports, ""]).encode(), mode=0o600)
    return environment


async def _make_key(seal: SealFolder, environment: dict[str, str]) -> None:
    """Token and key, if they are not there; the public key for whoever verifies."""
    make_token = (sys.executable, "-m", "openbourse.ledger.seal", "token", "--folder", str(seal.folder / "token"))
    await run_to_end(make_token, seal.logs / "seal-token.log", environment, ONCE_TIMEOUT_S)
    announced = await keys.announced(seal.dsn)
    if not announced:
        make_key = (sys.executable, "-m", "openbourse.cli.main", "ledger", "key", "create")
        await run_to_end(make_key, seal.logs / "seal-key.log", environment, ONCE_TIMEOUT_S)
        announced = await keys.announced(seal.dsn)
    pem = notes.p256(announced[0].public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    seal.public_key.write_bytes(pem)


async def _key_of_witness(url: str) -> str:
    async with httpx.AsyncClient(timeout=ASK_TIMEOUT_S) as client:
        answer = await client.get(f"{url}/key")
        return answer.raise_for_status().text.strip()


def _child(seal: SealFolder, what: str, port: int, path: str, environment: dict[str, str], *arguments: str) -> Child:
    name = "sealer" if what == "serve" else what
    return Child(
        name=name,
        command=[sys.executable, "-m", "openbourse.ledger.seal", what, *arguments],
        status_port=port,
        log=seal.logs / f"{name}.log",
        environment=environment,
        started_path=path,
    )
