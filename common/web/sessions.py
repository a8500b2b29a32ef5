"""Who may use a console: whoever opened the address that the command printed, in that browser, for some hours."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from itsdangerous import BadData, Signer, TimestampSigner

from common.system.files import write_synced

KEY_BYTES = 32
"""Length in bytes of the key that signs sessions."""

SESSION_S = 8 * 3600
"""Seconds after which a session ends; a person opens the printed address of a new start of the console then."""


def session_key(path: Path) -> bytes:
    """Return the key that signs a console's sessions; the file is created if it does not exist, for its owner only.

    Sessions outlive a restart of the console, so that open pages connect again. Removing the file ends them all.
    """
    if not path.exists():
        write_synced(path, secrets.token_bytes(KEY_BYTES), mode=0o600)
    return path.read_bytes()


@dataclass(slots=True)
class Sessions:
    """Sessions of one console.

    Args:
        key: signs them; whoever knows it can make one.
        lasts_s: seconds after which a session ends.
    """

    key: bytes = field(repr=False)
    lasts_s: int = SESSION_S
    _token: str = field(init=False, repr=False, default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def token(self) -> str:
        """The token of the opening address. It opens one session; after that, nothing knows it."""
        return self._token

    def open(self, token: str) -> str | None:
        """Return the value of a new session's cookie, or None where the token is wrong or was used."""
        if not self._token or not hmac.compare_digest(token.encode(), self._token.encode()):
            return None
        self._token = ""
        return self._sessions.sign(secrets.token_urlsafe(16)).decode()

    def find(self, cookie: str) -> str | None:
        """Return the name of the session that a cookie opens; None where it is forged or the session has ended."""
        try:
            return self._sessions.unsign(cookie, max_age=self.lasts_s).decode()
        except BadData:
            return None

    def form_token(self, session: str) -> str:
        """Return what every form of a session carries: another site cannot read it, and so cannot post in its name."""
        return self._forms.get_signature(session).decode()

    def is_form_token(self, session: str, token: str) -> bool:
        return hmac.compare_digest(self.form_token(session).encode(), token.encode())

    @property
    def _sessions(self) -> TimestampSigner:
        return TimestampSigner(self.key, salt="fedsynth session")

    @property
    def _forms(self) -> Signer:
        return Signer(self.key, salt="fedsynth form")
