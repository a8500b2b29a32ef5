"""The partners whose identity keys this hospital compared itself, in a file that people can read, like known_hosts.

A coordinator writes every hospital's key into a study. With its own keys under partners' names it would be all other
hospitals, and one hospital's vector would have one share of the noise. So a key counts as a partner's only if a person
at this hospital pinned its fingerprint, as the partner read it aloud.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import tomli_w

from common.errors import PolicyRefusal, Reason, SiteError, cause_of
from common.protocol.signing import fingerprint
from common.study.sections import SLUG
from common.study.study import Study
from common.system.files import write_synced, writing

PARTNERS = "partners.toml"
"""File name of the pins, in the state folder."""

HEADER = """\
# Partners whose identity key this hospital compared by telephone with the partner itself.
# Written by `fedsynth site partner add` and `remove`; `fedsynth site partner list` shows it.

"""

DIGITS = 32
"""Hexadecimal digits of a fingerprint: 128 bits."""

NEW, CHANGED = "new", "CHANGED"


@dataclass(frozen=True, slots=True)
class Pin:
    """A fingerprint that a person compared, and the day on which it was pinned.

    Raises:
        SiteError: not the form that `common.protocol.signing.fingerprint` gives.
    """

    fingerprint: str
    since: date

    def __post_init__(self) -> None:
        if self.fingerprint != read_aloud(self.fingerprint):
            raise SiteError("a fingerprint is written in eight groups of four digits, in lower case; correct it")
        if type(self.since) is not date:
            raise SiteError("since is not a date like 2026-11-29; correct it")


@dataclass(frozen=True, slots=True)
class Partner:
    """Another hospital of a study: the key that the study lists for it, beside the one that was pinned.

    Attributes:
        name: its name in the study.
        listed: fingerprint of the key in the study; None where the study lists none.
        pin: what this hospital pinned under that name; None where nothing.
    """

    name: str
    listed: str | None
    pin: Pin | None

    @property
    def is_known(self) -> bool:
        """Return whether the study lists exactly the key that a person compared."""
        return self.pin is not None and self.pin.fingerprint == self.listed

    @property
    def standing(self) -> str:
        """Return "new", "known since DATE" or "CHANGED", the last one with what was pinned."""
        if self.pin is None:
            return NEW
        if self.is_known:
            return f"known since {self.pin.since}"
        return f"{CHANGED}: you pinned {self.pin.fingerprint} on {self.pin.since}"


@dataclass(frozen=True, slots=True)
class Partners:
    """The pins of a site. The file is read again each time: a pin that was removed counts at once."""

    path: Path

    def pins(self) -> dict[str, Pin]:
        """Return the pins by name of the partner; none where there is no file.

        Raises:
            SiteError: the file cannot be read, or an entry is not a pin.
        """
        try:
            tables = tomllib.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as problem:
            raise SiteError(f"cannot read '{self.path}': {cause_of(problem)}; restore it or pin again") from None
        except tomllib.TOMLDecodeError as problem:
            raise SiteError(f"'{self.path}' is not valid TOML: {problem}") from None
        pins = {}
        for name, fields in tables.items():
            try:
                pins[name] = Pin(**fields)
            except (TypeError, SiteError) as problem:
                cause = problem if isinstance(problem, SiteError) else "it needs fingerprint and since; correct it"
                raise SiteError(f"'{self.path}', [{name}]: {cause}") from None
        return pins

    def add(self, name: str, digits: str, on: date, *, own: Mapping[str, str | None]) -> Pin:
        """Pin a partner's fingerprint and return the pin.

        Args:
            name: the partner's name in studies.
            digits: the fingerprint as a person typed it, with or without spaces.
            on: today.
            own: this hospital's name, with the fingerprint of its own identity; None where it has none.

        Raises:
            SiteError: the name or the fingerprint is malformed, this hospital's own, or pinned already; nothing is
                written.
        """
        if not re.fullmatch(SLUG, name):
            raise SiteError(
                f"'{name}' is no name of a hospital: expected lower-case letters and digits, with single hyphens "
                "between them, as in the study"
            )
        if name in own:
            raise SiteError(f"'{name}' is this hospital; pin its partners only")
        pin, pins = Pin(read_aloud(digits), on), self.pins()
        if pin.fingerprint in own.values():
            raise SiteError("this is the fingerprint of this hospital's own identity; ask the partner for its own")
        known = pins.get(name)
        if known is not None:
            if known.fingerprint == pin.fingerprint:
                raise SiteError(f"'{name}' is pinned to this fingerprint since {known.since}; nothing was written")
            raise SiteError(
                f"'{name}' is pinned to another fingerprint since {known.since}. Somebody may be posing as '{name}'. "
                f"Only if the partner itself says that its key changed, run `fedsynth site partner remove {name}` first"
            )
        for other, held in pins.items():
            if held.fingerprint == pin.fingerprint:
                raise SiteError(f"this fingerprint is pinned as '{other}': one party would count as two hospitals")
        self._write(pins | {name: pin})
        return pin

    def remove(self, name: str) -> None:
        """Remove a pin. Runs under shared noise with that partner are refused from now on, approved ones too.

        Raises:
            SiteError: nothing is pinned under that name.
        """
        pins = self.pins()
        if name not in pins:
            raise SiteError(f"no partner '{name}' is pinned; `fedsynth site partner list` shows who is")
        del pins[name]
        self._write(pins)

    def of(self, study: Study, hospital: str) -> tuple[Partner, ...]:
        """Return the study's hospitals other than this one, each beside its pin.

        Raises:
            SiteError: the pins cannot be read.
        """
        pins = self.pins()
        return tuple(
            Partner(facts.name, None if facts.identity is None else fingerprint(facts.identity), pins.get(facts.name))
            for facts in study.hospitals
            if facts.name != hospital
        )

    def check(self, study: Study, hospital: str) -> None:
        """Refuse a study one of whose partners this hospital has not compared, or whose key is another than pinned.

        Raises:
            PolicyRefusal: a partner is new or changed, or the pins cannot be read.
        """
        try:
            unknown = [partner for partner in self.of(study, hospital) if not partner.is_known]
        except SiteError as problem:
            raise PolicyRefusal(Reason.PARTNER_NOT_PINNED, str(problem)) from None
        if not unknown:
            return
        changed = [partner.name for partner in unknown if partner.pin is not None]
        if changed:
            raise PolicyRefusal(
                Reason.PARTNER_CHANGED,
                f"the study lists another key than the one that this hospital pinned for {', '.join(changed)}: do not "
                "approve before the partner itself has told you why; then `fedsynth site partner remove` and `add`",
            )
        raise PolicyRefusal(
            Reason.PARTNER_NOT_PINNED,
            f"noise is shared and {', '.join(partner.name for partner in unknown)} may be anyone: compare each "
            "fingerprint by telephone with the partner itself, then run `fedsynth site partner add NAME FINGERPRINT`",
        )

    def _write(self, pins: Mapping[str, Pin]) -> None:
        text = HEADER + tomli_w.dumps({name: asdict(pin) for name, pin in sorted(pins.items())})
        with writing(self.path, remedy="check the state folder", error=SiteError):
            write_synced(self.path, text.encode(), mode=0o600)


def read_aloud(digits: str) -> str:
    """Return a fingerprint in eight groups of four digits, from what a person typed.

    Raises:
        SiteError: it does not have exactly 32 hexadecimal digits.
    """
    bare = re.sub(r"[\s:-]", "", digits).lower()
    if not re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", bare):
        raise SiteError(
            f"a fingerprint has {DIGITS} hexadecimal digits in eight groups of four, and {len(bare)} characters were "
            "typed; ask the partner to read it again"
        )
    return " ".join(bare[start : start + 4] for start in range(0, DIGITS, 4))
