"""`fedsynth site partner`, and the fingerprints of partners that other commands show."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import Result

from common.protocol.signing import Identity, fingerprint
from common.study.sections import HospitalFacts
from tests.testbeds.approving import BY_KARI
from tests.testbeds.clinic import clinic_study
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.site_commands import FACTS, STUDY


class TestPartnerCommands:
    """What a person at north does with south and west, under shared noise."""

    KEYS: ClassVar = {name: Identity.simulated(1, name).public for name in ("south", "west")}

    def partner(self, folder: Path, *arguments: object) -> Result:
        return fedsynth("site", "partner", *arguments, "--site", folder)

    def shared(self, folder: Path) -> Path:
        keys = {"north": (folder / "identity.key.pub").read_text().strip(), **self.KEYS}
        facts = tuple(HospitalFacts(name=name, declared_rows=100, identity=key) for name, key in keys.items())
        path = folder.parent / "shared.toml"
        study = clinic_study(privacy={"noise": "distributed"}, training={"rounds": 0}).with_hospitals(facts)
        path.write_text(study.to_toml())
        return path

    def test_shared_noise_is_approved_after_every_partner_is_pinned(self, folder: Path) -> None:
        study = self.shared(folder)

        def asked() -> Result:
            return fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, *BY_KARI, answer="n\n")

        south, west = (fingerprint(self.KEYS[name]) for name in ("south", "west"))
        refused = asked()
        assert refused.exit_code == 3
        assert f"south: {south} (new) west: {west} (new)" in output_of(refused)
        assert "noise is shared and south, west may be anyone" in output_of(refused)
        assert "Digest of this statement" not in output_of(refused)
        assert self.partner(folder, "add", "south", *south.split()).exit_code == 0
        assert self.partner(folder, "add", "west", "ab" * 16).exit_code == 0  # what west itself read aloud
        forged = asked()
        assert forged.exit_code == 3
        assert "(known since 2" in output_of(forged)
        assert f"west: {west} (CHANGED: you pinned abab" in output_of(forged)
        assert "the study lists another key than the one that this hospital pinned for west" in output_of(forged)
        assert self.partner(folder, "remove", "west").exit_code == 0
        assert self.partner(folder, "add", "west", west).exit_code == 0
        asks = asked()
        assert asks.exit_code == 3
        assert "this one and others whose keys you compared yourself" in output_of(asks)
        assert "Digest of this statement" in output_of(asks)

    def test_list_shows_pins_and_the_own_fingerprint(self, folder: Path) -> None:
        nobody = output_of(self.partner(folder, "list"))
        assert "No partner is pinned, so this hospital takes part in studies with local noise only" in nobody
        own = fingerprint((folder / "identity.key.pub").read_text())
        assert f"Read this to partners who call you: north: {own}" in nobody
        self.partner(folder, "add", "south", "ab" * 16)
        assert "south │ abab abab" in output_of(self.partner(folder, "list"))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("add", "south", "abab"), "and 4 characters were typed; ask the partner to read it again"),
            (("add", "north", "ab" * 16), "'north' is this hospital"),
            (("add", "South", "ab" * 16), "'South' is no name of a hospital"),
            (("add", "south"), "FINGERPRINT"),
            (("remove", "south"), "no partner 'south' is pinned"),
        ],
    )
    def test_a_bad_pin_ends_with_a_sentence(self, arguments: tuple[str, ...], words: str, folder: Path) -> None:
        refused = self.partner(folder, *arguments)
        assert refused.exit_code == 2
        assert words in output_of(refused)
        assert not (folder / "partners.toml").exists()

    def test_own_key_is_no_partners(self, folder: Path) -> None:
        own = fingerprint((folder / "identity.key.pub").read_text())
        refused = self.partner(folder, "add", "south", own)
        assert refused.exit_code == 2
        assert "this hospital's own identity" in output_of(refused)


@pytest.mark.parametrize("command", ["check", "approve"])
def test_site_shows_every_partners_fingerprint(command: str, folder: Path, study: Path) -> None:
    key = Identity.simulated(1, "south").public
    south = FACTS[1].model_copy(update={"identity": key})
    west = HospitalFacts(name="west", declared_rows=90)
    study.write_text(STUDY.with_hospitals((FACTS[0], south, west)).to_toml())
    more = ("--run", "run-1", *BY_KARI) if command == "approve" else ()
    told = fedsynth("site", command, study, "--site", folder, *more, answer="n\n")
    assert told.exit_code == (3 if command == "approve" else 0), output_of(told)
    assert f"south: {fingerprint(key)}" in output_of(told)
    assert "west: no key is listed" in output_of(told)
    assert "by telephone with the partner itself" in output_of(told)
    assert "north: no key" not in output_of(told)
