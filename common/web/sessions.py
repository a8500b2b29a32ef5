"""Who may use a console: whoever opened the address that the command printed, in that browser, for some hours."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field

from itsdangerous import BadData, Signer, TimestampSigner

KEY_BYTES = 32
"""Length in bytes of the key that signs the sessions of one start of a console. It is never stored.

While a console is down, another account can take its port, and open pages send it their cookie when they connect again.
So a cookie is worth nothing once the console that gave it has ended.
"""

SESSION_S = 8 * 3600
"""Seconds after which a session ends; a person opens the printed address of a new start of the console then."""


@dataclass(slots=True)
class Sessions:
    """Sessions of one console.

    Args:
        lasts_s: seconds after which a session ends.

    Attributes:
        base: the path below which the pages of this start are. It opens nothing without the cookie, but the cookie goes
            nowhere else; another start has another, so that who listened on the port in between knows neither.
    """

    lasts_s: int = SESSION_S
    _key: bytes = field(init=False, repr=False, default_factory=lambda: secrets.token_bytes(KEY_BYTES))
    _token: str = field(init=False, repr=False, default_factory=lambda: secrets.token_urlsafe(32))
    base: str = field(init=False, repr=False, default_factory=lambda: f"/{secrets.token_urlsafe(16)}")

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
        return TimestampSigner(self._key, salt="fedsynth session")

    @property
    def _forms(self) -> Signer:
        return Signer(self._key, salt="fedsynth form")
