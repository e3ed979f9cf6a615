"""Carries a direct halt out: every shard at once, each step a line in a file before and after. It decides nothing."""

import asyncio
import getpass
import json
import os
import secrets
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.x509.oid import NameOID

from openbourse.cli.bourse import halting
from openbourse.cli.bourse.console import console, now
from openbourse.cli.bourse.direct import commands
from openbourse.cli.bourse.direct.engine import NoReply, ask, context
from openbourse.cli.bourse.errors import BadHalt, NotDone
from openbourse.contracts import tls, v1
from openbourse.contracts.resources.halt import Reopening
from openbourse.contracts.roles import Role
from openbourse.contracts.session import Address

Direct = Annotated[
    bool,
    typer.Option("--direct", help="Ask the engines themselves: for an API server that is down. See docs/people.md."),
]
Engines = Annotated[
    list[str] | None, typer.Option("--engine", help="With --direct: SHARD=HOST:PORT of an engine; again for each.")
]
Tls = Annotated[
    Path | None,
    typer.Option(
        "--tls",
        envvar="OPENBOURSE_TLS",
        help="With --direct: folder of ca.crt, tls.crt and tls.key (`openbourse person issue --role operator`).",
    ),
]
Audit = Annotated[
    Path | None,
    typer.Option(
        help="With --direct: file that gets a line of who did what.", show_default="~/.openbourse/direct.jsonl"
    ),
]


# As the command line gives them: engines, the folder of a certificate, the audit file, seconds for each.
Where = tuple[Sequence[str], Path | None, Path | None, float]


@dataclass(frozen=True, slots=True)
class Line:
    """How engines are reached, by whom, and where it is written down."""

    shards: Mapping[str, Sequence[Address]]
    who: commands.Actor
    tls_context: ssl.SSLContext
    audit: Path
    timeout_s: float

    @classmethod
    def to(cls, where: Where, least: Role) -> "Line":
        """Raises NotDone, also for who is not at least that."""
        engines, folder, audit, timeout_s = where
        asked = commands.engines(engines)
        if folder is None:
            raise NotDone(
                "--direct takes a person's certificate: --tls FOLDER, of `openbourse person issue --role admin`"
            )
        who = _actor(folder, least)
        return cls(asked, who, context(folder), audit or Path.home() / ".openbourse" / "direct.jsonl", timeout_s)

    async def carry_out(self, command: v1.Command, shards: Sequence[str]) -> bool:
        """At each of these shards at once. Whether all of them did it."""
        return all(await asyncio.gather(*(self._one_shard(command, shard) for shard in sorted(shards))))

    async def _one_shard(self, command: v1.Command, shard: str) -> bool:
        self._write(command, shard, "asked", None)
        try:
            reply = await ask(shard, self.shards[shard], self.tls_context, command, self.timeout_s)
        except NoReply as error:
            self._write(command, shard, "unknown", None)
            typer.echo(f"{error}: whether it was carried out is not known; ask again", err=True)
            return False
        why = commands.refusal(reply)
        self._write(command, shard, "refused" if why else "done", reply)
        done = "refused" if why else "lifted" if command.HasField("lift_halt") else "halted"
        console.print(f"  shard {shard}  {done}  epoch {reply.epoch}  seq {reply.seq}")
        if why:
            console.print(f"    {why}", markup=False)
        return not why

    def _write(self, command: v1.Command, shard: str, outcome: str, reply: v1.Reply | None) -> None:
        line = self.who.audit_line(command, shard, outcome, reply) | {"at": now().isoformat()}
        _append(self.audit, json.dumps(line))


async def halt(where: Where, wanted: commands.Wanted, name: str | None, lasts: str | None, reopen: Reopening) -> bool:
    """Whether every shard has halted. Raises NotDone."""
    line = Line.to(where, Role.OPERATOR)
    if unknown := sorted(set(wanted.shards) - set(line.shards)):
        raise BadHalt(f"no --engine of shard {', '.join(unknown)}; there are {', '.join(sorted(line.shards))}")
    generated = halting.generated_name(wanted.symbols, wanted.shards, now()).removeprefix("halt-")
    made = commands.new_halt(name or generated, lasts, reopen, now())
    command = commands.impose(made.name, wanted, line.who, secrets.token_hex(8))
    what = halting.what_it_halts(wanted.symbols, wanted.shards)
    console.print(f"direct halt [bold]{made.name}[/] of {what}: {wanted.mode}", soft_wrap=True)
    if made.ends_at is not None:
        console.print(f"  lifts itself at {made.ends_at:%Y-%m-%d %H:%M:%S} UTC, by the clock of the engine that leads")
    return await line.carry_out(command, wanted.shards or tuple(line.shards))


async def lift(where: Where, names: Sequence[str], reason: str | None, reopen: Reopening) -> bool:
    """Whether every shard has lifted all of them. Raises NotDone."""
    line = Line.to(where, Role.ADMIN)
    if reason is None or not reason.strip():
        raise BadHalt("lift --direct says why in the engines' log: give --reason")
    every = True
    for name in map(commands.halt_name, names):
        command = commands.lift(name, reason, reopen, line.who, secrets.token_hex(8))
        console.print(f"direct halt [bold]{name}[/]")
        every &= await line.carry_out(command, tuple(line.shards))
    return every


def _actor(folder: Path, least: Role) -> commands.Actor:
    """Whose certificate it is. Raises NotDone, also where its role does not do."""
    try:
        certificate = x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        role = tls.role_of({"subjectAltName": [("URI", uri) for uri in uris]})
        name = str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    except (OSError, ValueError, IndexError, x509.ExtensionNotFound, tls.PeerRefused) as error:
        raise NotDone(f"--tls {folder}: no certificate of a person ({error}): see `openbourse person issue`") from None
    if role is None or not role.includes(least):
        is_now = f"is {role}" if role else "names no role"
        raise NotDone(
            f"the certificate of {name} {is_now}; this takes {least}: `openbourse person issue --role {least}`"
        )
    return commands.Actor(name, role, getpass.getuser(), socket.gethostname())


def _append(file: Path, line: str) -> None:
    """Durable before it goes on. A file that takes nothing must not keep anybody from halting: it is said, loudly."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        typer.echo(f"NOT WRITTEN DOWN in {file} ({error}): {line}", err=True)
