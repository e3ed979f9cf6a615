"""A file of keys sealed under a key of a real token: what is in it, what is refused, and what happens with the token
away."""

import asyncio
import hmac
import json
import logging
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from fixtures.gateways import NOWHERE, GatewayProcess, signed
from fixtures.tokens import PIN, SoftHsm
from fixtures.websocket_apis import ed25519, public_pem
from openbourse.cli.keys import app
from openbourse.contracts.api_keys import PublicApiKey, file_of_public_keys
from openbourse.contracts.component import Component
from openbourse.contracts.hsm import TokenAway, TokenRefused, TokenSettings
from openbourse.gateway import key_ring
from openbourse.gateway.errors import Invalid
from openbourse.gateway.key_ring import KeyRing
from openbourse.gateway.key_seal import TokenVault
from openbourse.gateway.keys import (
    Key,
    KeyFileInvalid,
    create_key,
    import_keys,
    read_keys,
    read_text,
    restrict_key,
    revoke_key,
    rewrap,
)
from openbourse.gateway.signatures import check_signature

pytestmark = pytest.mark.server

HERE = "192.0.2.7"
NOW_US = 1_800_000_000_000_000
Document = dict[str, object]


@pytest.fixture
def vault(soft_hsm: SoftHsm) -> TokenVault:
    return vault_of(soft_hsm)


def vault_of(token: SoftHsm, pin: str = PIN) -> TokenVault:
    """As a process has it that was started just now."""
    return TokenVault(TokenSettings(token.settings.module, token.settings.label, pin))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def pair(file: Path, vault: TokenVault) -> tuple[Key, Key]:
    """One with a secret, one with a public key."""
    listed = create_key(file, account=1001, addresses=("192.0.2.0/24",), expires="2028-01-01", vault=vault)
    return listed, create_key(file, account=1002, public_key=public_pem(ed25519()), vault=vault)


def test_where_there_is_a_token_a_file_of_public_keys_stands_beside_the_sealed_one(
    file: Path, tmp_path: Path, soft_hsm: SoftHsm, pair: tuple[Key, Key]
) -> None:
    public = tmp_path / "public.json"
    made = {"api_key": "p" * 20, "account": 1003, "created": "2026-11-29", "public_key": public_pem(ed25519())}
    public.write_bytes(file_of_public_keys([PublicApiKey.model_validate(made)]))
    ring = KeyRing(file, vault_of(soft_hsm), [public])
    assert [ring.holder(key, HERE, NOW_US).account for key in (pair[1].api_key, "p" * 20)] == [1002, 1003]
    # What is in clear takes the place of no file that has to be sealed.
    file.write_bytes(public.read_bytes())
    asyncio.run(ring.look())
    assert "it is not sealed, but a token is named" in ring.trouble
    assert ring.holder(pair[1].api_key, HERE, NOW_US).account == 1002


def test_a_sealed_file_has_no_secret_in_it_and_opens_with_its_token(
    file: Path, soft_hsm: SoftHsm, pair: tuple[Key, Key]
) -> None:
    content = file.read_text()
    assert pair[0].secret not in content and '"secret"' not in content
    assert read_keys(file, vault_of(soft_hsm)) == list(pair)
    opened = KeyRing(file, vault_of(soft_hsm)).holder(pair[0].api_key, HERE, NOW_US).key
    check_signature(opened, b"a=1", hmac.digest(pair[0].secret.encode(), b"a=1", "sha256").hex())
    with pytest.raises(Invalid):
        check_signature(opened, b"a=1", hmac.digest(b"another", b"a=1", "sha256").hex())
    with pytest.raises(KeyFileInvalid, match="of an HSM: name its token"):
        read_keys(file)
    with pytest.raises(KeyFileInvalid, match="name its token with OPENBOURSE_PKCS11_MODULE"):
        KeyRing(file)


def changed(**change: object) -> Callable[[Document, Document], object]:
    return lambda key, _: key.update(change)


def without(name: str) -> Callable[[Document, Document], object]:
    return lambda key, _: key.pop(name)


def taken_from_other(name: str) -> Callable[[Document, Document], object]:
    return lambda key, other: key.update({name: other[name]})


def damaged(key: Document, _: Document) -> None:
    sealed = str(key["sealed"])
    key["sealed"] = ("A" if sealed[0] != "A" else "B") + sealed[1:]


ATTACKS: dict[str, Callable[[Document, Document], object]] = {
    "another account": changed(account=1003),
    "more permissions": changed(permissions=["TRADE", "USER_DATA"]),
    "all permissions": without("permissions"),
    "other addresses": changed(addresses=["198.51.100.0/24"]),
    "no addresses": without("addresses"),
    "a later end": changed(expires="2029-01-01T00:00:00Z"),
    "no end": without("expires"),
    "another label": changed(label="bot"),
    "another name": changed(api_key="0" * 64),
    "another time of making": changed(created="2026-01-01T00:00:00+00:00"),
    "a public key of the attacker's": changed(public_key=public_pem(ed25519())),
    "another key's secret": taken_from_other("sealed"),
    "a secret in clear": lambda key, _: (key.pop("sealed"), key.update(secret="0" * 64)),
    "a secret in clear beside": changed(secret="0" * 64),
    "no secret": without("sealed"),
    "an empty secret": changed(sealed=""),
    "what is no base64": changed(sealed="*"),
    "a short one": changed(sealed="AAAA"),
    "a damaged secret": damaged,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_key_that_was_edited_is_refused(file: Path, vault: TokenVault, attack: str) -> None:
    permitted = {"permissions": ("USER_DATA",), "addresses": ("192.0.2.0/24",), "expires": "2028-01-01"}
    key, _ = (create_key(file, account=account, vault=vault, **permitted) for account in (1001, 1002))  # type: ignore[arg-type]
    document = json.loads(file.read_text())
    ATTACKS[attack](document["keys"][0], document["keys"][1])
    file.write_text(json.dumps(document))
    with pytest.raises(KeyFileInvalid) as refused:
        KeyRing(file, vault)
    assert str(file) in str(refused.value) and key.secret not in str(refused.value)


def test_a_key_in_clear_or_of_another_file_is_not_taken_into_a_sealed_one(
    file: Path, tmp_path: Path, vault: TokenVault, pair: tuple[Key, Key]
) -> None:
    own = json.loads(file.read_text())
    other = tmp_path / "other.json"
    create_key(other, account=1003, vault=vault)
    create_key(tmp_path / "clear.json", account=1004)
    for source in (other, tmp_path / "clear.json"):
        file.write_text(json.dumps({**own, "keys": [*own["keys"], *json.loads(source.read_text())["keys"]]}))
        with pytest.raises(KeyFileInvalid, match="is not as it was sealed"):
            KeyRing(file, vault)
    file.write_text(json.dumps({"keys": json.loads((tmp_path / "clear.json").read_text())["keys"]}))
    with pytest.raises(KeyFileInvalid, match="it is not sealed, but a token is named"):
        KeyRing(file, vault)
    with pytest.raises(KeyFileInvalid, match="it is not sealed, but a token is named"):
        create_key(file, account=1005, vault=vault)


def test_what_a_sealed_key_may_do_is_changed_and_it_is_revoked_and_imported(
    file: Path, tmp_path: Path, vault: TokenVault, pair: tuple[Key, Key]
) -> None:
    restrict_key(file, pair[0].api_key, vault=vault, addresses=("198.51.100.0/24",))
    assert read_keys(file, vault)[0] == pair[0].model_copy(update={"addresses": ("198.51.100.0/24",)})
    with pytest.raises(KeyFileInvalid, match="name its token"):
        restrict_key(file, pair[0].api_key, addresses=())
    clear = create_key(tmp_path / "clear.json", account=1003)
    assert import_keys(file, read_keys(tmp_path / "clear.json", vault), vault) == 1
    # In need anybody revokes, without a token.
    revoke_key(file, pair[0].api_key)
    assert read_keys(file, vault) == [pair[1], clear]


def test_all_is_sealed_anew_under_a_new_key_and_the_old_file_still_opens(
    file: Path, soft_hsm: SoftHsm, vault: TokenVault, pair: tuple[Key, Key]
) -> None:
    before = file.read_bytes()
    old, new = rewrap(file, vault)
    assert old is not None and old.key != new.key and old.data_key != new.data_key
    assert read_keys(file, vault_of(soft_hsm)) == list(pair)
    lines = (set(re.findall(rb'"sealed":"[^"]*"', content)) for content in (before, file.read_bytes()))
    assert not set.intersection(*lines)
    file.write_bytes(before)
    assert read_keys(file, vault_of(soft_hsm)) == list(pair)


def test_a_file_in_clear_is_sealed(file: Path, vault: TokenVault) -> None:
    key = create_key(file, account=1001)
    assert rewrap(file, vault)[0] is None
    assert key.secret not in file.read_text() and read_keys(file, vault) == [key]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"data_key": "A" * 80}, "token 'seal' does not answer"),
        ({"key": "openbourse keys of another"}, "token 'seal' has no key 'openbourse keys of another'"),
    ],
)
def test_a_data_key_that_is_not_the_tokens_is_refused(
    file: Path, soft_hsm: SoftHsm, pair: tuple[Key, Key], change: dict[str, str], why: str
) -> None:
    document = json.loads(file.read_text())
    document["sealed"].update(change)
    file.write_text(json.dumps(document))
    with pytest.raises(TokenAway, match=why):
        KeyRing(file, vault_of(soft_hsm))


def test_the_key_of_the_token_never_leaves_it(file: Path, soft_hsm: SoftHsm, pair: tuple[Key, Key]) -> None:
    import pkcs11  # noqa: PLC0415

    label = read_text(file).seal
    assert label is not None
    found = pkcs11.lib(str(soft_hsm.settings.module)).get_token(token_label="seal")
    with found.open(user_pin=PIN) as session:
        key = session.get_key(object_class=pkcs11.ObjectClass.SECRET_KEY, label=label.key)
        assert (key[pkcs11.Attribute.EXTRACTABLE], key[pkcs11.Attribute.SENSITIVE]) == (False, True)
        with pytest.raises(pkcs11.AttributeSensitive):
            key[pkcs11.Attribute.VALUE]


def test_with_the_token_away_what_was_read_goes_on_and_changes_under_the_same_data_key_too(
    file: Path,
    soft_hsm: SoftHsm,
    pair: tuple[Key, Key],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(key_ring, "TOKEN_AGAIN_S", 0)
    ring = KeyRing(file, vault_of(soft_hsm))
    rewrapped = Path(f"{file}.rewrapped")
    rewrapped.write_bytes(file.read_bytes())
    rewrap(rewrapped, vault_of(soft_hsm))
    soft_hsm.take_away()
    revoke_key(file, pair[1].api_key)
    asyncio.run(ring.look())
    with pytest.raises(Invalid):
        ring.holder(pair[1].api_key, HERE, NOW_US)
    rewrapped.rename(file)
    for _ in range(3):
        asyncio.run(ring.look())
    assert ring.trouble.startswith("there is no token 'seal'")
    assert caplog.text.count("there is no token 'seal'") == 1
    assert ring.holder(pair[0].api_key, HERE, NOW_US).account == 1001
    with pytest.raises(TokenAway):
        KeyRing(file, vault_of(soft_hsm))
    soft_hsm.bring_back()
    asyncio.run(ring.look())
    assert (ring.trouble, ring.holder(pair[1].api_key, HERE, NOW_US).account) == ("", 1002)


def test_a_wrong_pin_is_tried_once(
    file: Path, soft_hsm: SoftHsm, vault: TokenVault, pair: tuple[Key, Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = vault_of(soft_hsm, "0000")
    with pytest.raises(TokenRefused, match="refuses the PIN") as refused:
        KeyRing(file, wrong)
    assert "0000" not in str(refused.value)
    wrong._remembered = vault._remembered
    ring = KeyRing(file, wrong)
    rewrap(file, vault)
    asyncio.run(ring.look())
    assert "refuses the PIN" in ring.trouble
    monkeypatch.setattr(wrong, "cipher", lambda _: pytest.fail("it was tried again"))
    asyncio.run(ring.look())
    assert "refuses the PIN" in ring.trouble


def test_no_secret_is_ever_said(
    file: Path, soft_hsm: SoftHsm, vault: TokenVault, pair: tuple[Key, Key], caplog: pytest.LogCaptureFixture
) -> None:
    """In logs, in what is raised with its trace, in how things show themselves, in what the command line prints."""
    caplog.set_level(logging.DEBUG)
    secret, sealed = pair[0].secret, read_text(file).all()[0]
    cipher = vault.cipher(read_text(file).seal or pytest.fail("no seal"))
    ring = KeyRing(file, vault)
    said = [repr(each) for each in (pair[0], sealed, vault, cipher, ring, ring.holder(pair[0].api_key, HERE, NOW_US))]
    said += [str(each) for each in (pair[0], sealed, vault_of(soft_hsm)._settings)]
    content = file.read_bytes()
    for broken in (content.replace(b"1001", b"1003"), content.replace(b'"sealed":"', b'"sealed":"*'), content[:-9]):
        file.write_bytes(broken)
        asyncio.run(ring.look())
        said.append(ring.trouble)
        try:
            read_keys(file, vault)
        except KeyFileInvalid as error:
            said += traceback.format_exception(error)
        else:
            pytest.fail("it was taken")
    file.write_bytes(content)
    environment = soft_hsm.environment
    for command in (["list"], ["list", "-o", "json"], ["rewrap"], ["restrict", pair[0].api_key, "--label", "x"]):
        done = CliRunner().invoke(app, [*command, "--file", str(file)], env=environment)
        assert done.exit_code == 0, done.output
        said.append(done.output)
    assert read_keys(file, vault)[0].label == "x"
    text = "\n".join([*said, caplog.text])
    assert pair[0].api_key in text
    for hidden in (secret, sealed.sealed, f"'{PIN}'"):
        assert hidden not in text


def test_ten_thousand_sealed_keys_are_opened_in_seconds(file: Path, vault: TokenVault) -> None:
    made = [
        Key(api_key=f"{number:064}", secret=f"{number:064}", account=1000 + number, created="2026-11-29T00:00:00Z")
        for number in range(10_000)
    ]
    import_keys(file, made, vault)
    began_s = time.monotonic()
    assert len(KeyRing(file, vault)) == 10_000
    assert time.monotonic() - began_s < 10


def test_a_gateway_opens_its_file_and_says_when_it_cannot(
    tmp_path: Path,
    soft_hsm: SoftHsm,
    vault: TokenVault,
    tls_material: Mapping[Component, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in soft_hsm.environment.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "gateway"
    folder.mkdir()
    gateway = GatewayProcess(folder, tls_material[Component.GATEWAY], NOWHERE)
    first = create_key(gateway.keys, account=1001, vault=vault)
    gateway.start()
    try:
        # It is let in, and then the engine is away.
        assert answer(gateway, first) == 503
        second = create_key(gateway.keys, account=1002, vault=vault)
        assert gateway.wait_for("two keys", lambda status: status["keys"] == 2)["keysTrouble"] == ""
        assert answer(gateway, second) == 503
        gateway.keys.write_text('{"keys": []}')
        gateway.wait_for("trouble", lambda status: "it is not sealed" in status["keysTrouble"])
        assert answer(gateway, second) == 503
    finally:
        gateway.stop()
    log = gateway.log.read_text()
    assert "keys are as they were, the file could not be read again" in log
    assert first.secret not in log and second.secret not in log and "Traceback" not in log
    refused = subprocess.run(
        [
            *(sys.executable, "-m", "openbourse.gateway", "--shard", "main", "--engine", "127.0.0.1:9"),
            *("--ledger", "https://127.0.0.1:9", "--keys", str(gateway.keys), "--tls", str(gateway.tls)),
            *("--listen", "127.0.0.1:1", "--status", "127.0.0.1:2"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 1 and "it is not sealed, but a token is named" in refused.stderr, refused.stderr


def answer(gateway: GatewayProcess, key: Key) -> int:
    headers = {"X-MBX-APIKEY": key.api_key}
    return httpx.get(f"{gateway.url}/api/v3/account?{signed(key, {})}", headers=headers, timeout=20).status_code
