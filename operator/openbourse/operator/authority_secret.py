"""The Secret of an exchange's certificate authority: who signs, who will next, who did before. Values in, values out.

A rotation goes through three of its states: one authority; another one that is made and trusted, and does not sign yet;
that one, with the one before it still trusted. The previous one's key is not kept: nobody can sign with it any more.
"""

import base64
import binascii
from dataclasses import dataclass, replace

from openbourse.contracts.apiserver import Object
from openbourse.contracts.certificates import Issued
from openbourse.contracts.resources import GROUP

ROTATION_ANNOTATION = f"{GROUP}/rotation"


@dataclass(frozen=True, slots=True)
class Authorities:
    """`previous`: PEM of those that are still trusted, or empty. `rotation`: the id of the last that was asked for."""

    signing: Issued
    next: Issued | None = None
    previous: bytes = b""
    rotation: str = ""

    @property
    def bundle(self) -> bytes:
        """PEM of all that are trusted, who signs first."""
        return self.signing.certificate + (self.next.certificate if self.next else b"") + self.previous

    def begun(self, made: Issued, rotation: str) -> "Authorities":
        """`made` is to be trusted, and signs later."""
        assert self.next is None, "one rotation at a time"
        assert not self.previous, "one rotation at a time"
        return replace(self, next=made, rotation=rotation or self.rotation)

    def switched(self) -> "Authorities":
        """The next one signs; this one is trusted as before."""
        assert self.next is not None, "it was begun"
        return replace(self, signing=self.next, next=None, previous=self.signing.certificate)

    def dropped(self) -> "Authorities":
        """Only who signs is trusted."""
        return replace(self, previous=b"")

    def data(self) -> dict[str, str]:
        """Of the Secret."""
        files = {"tls.crt": self.signing.certificate, "tls.key": self.signing.key}
        if self.next is not None:
            files |= {"next.crt": self.next.certificate, "next.key": self.next.key}
        if self.previous:
            files["previous.crt"] = self.previous
        return {name: base64.b64encode(content).decode() for name, content in files.items()}


def authorities_of(secret: Object) -> Authorities:
    """Raises ValueError for what is none."""
    data = secret.get("data") or {}
    try:
        found = {name: base64.b64decode(text, validate=True) for name, text in data.items()}
        signing = Issued(found["tls.crt"], found["tls.key"])
        following = Issued(found["next.crt"], found["next.key"]) if "next.crt" in found else None
    except (KeyError, binascii.Error) as error:
        raise ValueError(f"no authority in the Secret: {type(error).__name__} {error}") from None
    annotations = secret["metadata"].get("annotations") or {}
    return Authorities(signing, following, found.get("previous.crt", b""), annotations.get(ROTATION_ANNOTATION, ""))
