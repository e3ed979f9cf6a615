"""A SoftHSM token in a folder: an HSM in software, for where there is no other. Made once, and then left as it is.

The PIN never stands in a list of processes. Who has the folder and the PIN has the key: it is not what an HSM is.
"""

import os
import secrets
import shutil
import subprocess
from pathlib import Path

import pkcs11

from openbourse.ledger.errors import Invalid, Unavailable
from openbourse.ledger.seal.token import TokenSettings

# Where Debian and others put it.
MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/pkcs11/libsofthsm2.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
    Path("/opt/homebrew/lib/softhsm/libsofthsm2.so"),
)
CONFIGURATION = "softhsm2.conf"
INIT_TIMEOUT_S = 30


def module() -> Path | None:
    """SoftHSM's library, if all that is needed of SoftHSM is installed."""
    return next((path for path in MODULES if path.is_file()), None) if shutil.which("softhsm2-util") else None


def make(folder: Path, settings: TokenSettings) -> bool:
    """Makes the token, unless the folder has one already; what an attempt before has left half done is made anew.

    For a process of its own: it loads the library, which then knows this folder. Raises Invalid and Unavailable.
    """
    tokens, unfinished = folder / "tokens", folder / "tokens.new"
    if tokens.exists():
        return False
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        _init(folder / CONFIGURATION, unfinished, settings)
        _configure(folder / CONFIGURATION, tokens)
        unfinished.rename(tokens)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the token in {folder}: {error}") from error
    return True


def _init(configuration: Path, tokens: Path, settings: TokenSettings) -> None:
    """With PINs for one moment, as arguments can be seen by others. That of its security officer nobody ever needs."""
    _configure(configuration, tokens)
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    passing, officer = secrets.token_hex(16), secrets.token_hex(16)
    command = ["softhsm2-util", "--init-token", "--free", "--label", settings.label]
    done = subprocess.run(
        [*command, "--so-pin", officer, "--pin", passing, "--module", str(settings.module)],
        capture_output=True,
        text=True,
        timeout=INIT_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(f"softhsm2-util could not make a token in {tokens}: {(done.stderr or done.stdout).strip()}")
    try:
        library = pkcs11.lib(str(settings.module))
        library.reinitialize()
        with library.get_token(token_label=settings.label).open(rw=True, user_pin=passing) as session:
            session.set_pin(passing, settings.pin)
    except pkcs11.PinLenRange:
        raise Invalid("SoftHSM takes a PIN of 4 to 255 characters: correct OPENBOURSE_PKCS11_PIN_FILE") from None
    except pkcs11.PKCS11Error as error:
        raise Unavailable(f"the token in {tokens}: {type(error).__name__} {error}".rstrip()) from error


def _configure(path: Path, tokens: Path) -> None:
    path.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
