import base64
import json
import re
from pathlib import Path

import pytest

from common.errors import StudyError
from common.protocol.signing import Identity
from common.study.sections import HospitalFacts
from common.study.study import Study, parse_study, read_study
from common.study.synthesizers import GanSettings, MaximumEntropySettings

TEXT = """
[study]
name = "two-wards"
seed = 7
[[schema.columns]]
name = "age"
kind = "numeric"
lower = 18
upper = 100
[[schema.columns]]
name = "died"
kind = "categorical"
categories = ["no", "yes"]
[[hospitals]]
name = "north"
declared_rows = 300
[[hospitals]]
name = "south"
declared_rows = 200
[synthesizer]
kind = "marginal-gan"
[training]
rounds = 5
[privacy]
epsilon = 3.0
delta = 1e-5
noise = "local"
[federation]
aggregation = "mean"
min_hospitals = 2
[evaluation]
target = "died"
sensitive = ["age"]
"""


def changed(*changes: tuple[str, str]) -> str:
    text = TEXT
    for old, new in changes:
        assert text.count(old) >= 1
        text = text.replace(old, new, 1)
    return text


def test_a_study_survives_its_own_file() -> None:
    study = parse_study(TEXT)
    again = parse_study(study.to_toml())
    assert again == study
    assert again.fingerprint == study.fingerprint


def keyed(north: str, south: str, *, noise: str, coordinator: str | None = None) -> str:
    """The study with identities, a third hospital, and the coordinator's key."""
    text = changed(
        ("declared_rows = 300", f'declared_rows = 300\nidentity = "{north}"'),
        ("declared_rows = 200", f'declared_rows = 200\nidentity = "{south}"\n[[hospitals]]\nname = "west"\n'
         f'declared_rows = 90\nidentity = "{KEYS[2]}"'),
        ('noise = "local"', f'noise = "{noise}"'),
    )  # fmt: skip
    return text.replace("[federation]", f'[federation]\ncoordinator = "{coordinator}"') if coordinator else text


KEYS = [Identity.simulated(1, name).public for name in ("north", "south", "west")]


@pytest.mark.parametrize("noise", ["local", "distributed"])
class TestEveryHospitalHasAKeyOfItsOwn:
    def test_study_of_distinct_keys_is_accepted(self, noise: str) -> None:
        other = Identity.simulated(1, "coordinator").public
        assert len(parse_study(keyed(KEYS[0], KEYS[1], noise=noise, coordinator=other)).hospitals) == 3

    def test_study_with_a_repeated_key_is_refused(self, noise: str) -> None:
        with pytest.raises(StudyError) as refusal:
            parse_study(keyed(KEYS[0], KEYS[2], noise=noise))
        assert "'south' and 'west' list the same identity" in str(refusal.value)
        assert "list the identity that `fedsynth site init` printed at each hospital" in str(refusal.value)
        assert "'north'" not in str(refusal.value)

    def test_study_with_the_coordinators_own_key_is_refused(self, noise: str) -> None:
        with pytest.raises(StudyError, match="the coordinator's key is the identity of 'south'"):
            parse_study(keyed(KEYS[0], KEYS[1], noise=noise, coordinator=KEYS[1]))

    def test_one_key_cannot_be_written_in_two_ways(self, noise: str) -> None:
        """The last character holds two bits that decoding ignores."""
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        alias = KEYS[2][:-2] + letters[letters.index(KEYS[2][-2]) + 1] + "="
        assert base64.b64decode(alias[8:], validate=True) == base64.b64decode(KEYS[2][8:], validate=True)
        with pytest.raises(StudyError, match=r"hospitals\.1\.identity"):
            parse_study(keyed(KEYS[0], alias, noise=noise))


def test_a_malformed_key_is_explained_without_its_pattern() -> None:
    bad = (
        ("[federation]", '[federation]\ncoordinator = "ssh-ed25519 AAAA"', "federation.coordinator",
         "the ed25519:... text that `fedsynth coordinator certs` printed"),
        ("declared_rows = 300", 'declared_rows = 300\nidentity = "AAAA"', "hospitals.0.identity",
         "the ed25519:... text that `fedsynth site init` printed at the hospital"),
        ('name = "north"', 'name = "North Wing"', "hospitals.0.name",
         "lower-case letters and digits, with single hyphens between them"),
    )  # fmt: skip
    for before, after, place, words in bad:
        with pytest.raises(StudyError) as refused:
            parse_study(TEXT.replace(before, after, 1))
        assert str(refused.value) == f"study: [{place}] is malformed: expected {words}"


def test_fingerprint_ignores_layout_and_defaults() -> None:
    study = parse_study(TEXT)
    assert parse_study("# agreed in May\n" + TEXT.replace(" = ", "=")).fingerprint == study.fingerprint
    assert parse_study(changed(("rounds = 5", "rounds = 5\nsteps = 20"))).fingerprint == study.fingerprint
    assert re.fullmatch("[0-9a-f]{64}", study.fingerprint)


@pytest.mark.parametrize(
    ("old", "new"),
    [("seed = 7", "seed = 8"), ("epsilon = 3.0", "epsilon = 3.1"), ("upper = 100", "upper = 101"), ("300", "310")],
)
def test_the_fingerprint_changes_with_every_setting(old: str, new: str) -> None:
    assert parse_study(changed((old, new))).fingerprint != parse_study(TEXT).fingerprint


def test_the_canonical_form_is_json_with_sorted_keys() -> None:
    document = json.loads(parse_study(TEXT).canonical())
    assert list(document) == sorted(document)
    assert document["study"]["name"] == "two-wards"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("rounds = 5", "round = 5", "unknown key 'round' in [training]; did you mean 'rounds'?"),
        (
            "epsilon = 3.0",
            "epsilon = 3.0\nepsilom = 1.0",
            "unknown key 'epsilom' in [privacy]; did you mean 'epsilon'?",
        ),
        ("upper = 100", "upper = 100\ndecimls = 1", "unknown key 'decimls'"),
        ("upper = 100", "upper = 100\ndecimls = 1", "did you mean 'decimals'?"),
        ("seed = 7", "seed = 7\nzzzzzz = 1", "unknown key 'zzzzzz' in [study]; remove it"),
        ("[training]", "[trainings]", "unknown key 'trainings'; did you mean 'training'?"),
    ],
)
def test_unknown_key_is_refused_with_the_nearest(old: str, new: str, expected: str) -> None:
    with pytest.raises(StudyError, match=re.escape(expected)):
        parse_study(changed((old, new)))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('name = "south"', 'name = "north"', "a hospital is listed twice; remove one"),
        (
            "min_hospitals = 2",
            "min_hospitals = 3",
            "min_hospitals = 3 exceeds the 2 hospitals listed; lower it or list",
        ),
        ('target = "died"', 'target = "dead"', "target 'dead' is not in the schema; choose one of its columns"),
        ('sensitive = ["age"]', 'sensitive = ["sex"]', "sensitive column 'sex' is not in the schema; remove it or"),
        ('["no", "yes"]', '["no"]', "target 'died' has one category only"),
        (
            "delta = 1e-5",
            "delta = 0.0004",
            "[privacy] delta = 0.0004 is above 1 / (10 x declared_rows) of hospital 'north' (0.00033)",
        ),
        ("declared_rows = 300", "declared_rows = 303", "declared_rows = 303 has more than 2 significant digits"),
        ("epsilon = 3.0", "epsilon = 20.5", "[privacy] epsilon = 20.5 is above 20"),
        ("epsilon = 3.0", "epsilon = 0.0", "[privacy.epsilon] input should be greater than 0"),
        ("epsilon = 3.0\n", "", "[privacy.epsilon] is not given; add it"),
        ('noise = "local"', 'noise = "loud"', "[privacy.noise] input should be 'local', 'distributed' or 'none'"),
        ('name = "two-wards"', 'name = "Two Wards"', "[study.name]"),
        ("lower = 18", "lower = 180", "column 'age': lower must be below upper"),
        ("rounds = 5", 'rounds = "5"', "[training.rounds] input should be a valid integer"),
        ("seed = 7", "seed = ", "is not valid TOML"),
    ],
)
def test_a_faulty_study_is_refused_with_place_and_remedy(old: str, new: str, expected: str) -> None:
    with pytest.raises(StudyError, match=re.escape(expected)) as caught:
        parse_study(changed((old, new)), source="agreed.toml")
    assert str(caught.value).startswith("agreed.toml")


@pytest.mark.parametrize("aggregation", ["median", "trimmed-mean", "krum"])
def test_shared_noise_refuses_robust_aggregation(aggregation: str) -> None:
    text = changed(('noise = "local"', 'noise = "distributed"'), ('"mean"', f'"{aggregation}"'))
    with pytest.raises(StudyError, match=f"aggregation = '{aggregation}' needs each hospital's own update"):
        parse_study(text)


def shared(hospitals: int, dropouts: int = 0, colluders: int = 1, **federation: object) -> Study:
    """A study with distributed noise among so many hospitals."""
    facts = tuple(HospitalFacts(name=f"h{place}", declared_rows=100) for place in range(hospitals))
    rules: dict[str, object] = {"dropouts": dropouts, "colluders": colluders, **federation}
    parsed = parse_study(TEXT).with_hospitals(facts, cap_minimum=True)
    return parsed.amended(privacy={"noise": "distributed"}, federation=rules)


def test_shared_noise_accepts_exactly_working_thresholds() -> None:
    for hospitals in range(1, 9):
        for dropouts in range(4):
            for colluders in range(1, 5):
                # A threshold t exists with 2 t > K + colluders and t <= K - dropouts.
                works = any(2 * t > hospitals + colluders for t in range(1, hospitals - dropouts + 1))
                if not works:
                    with pytest.raises(StudyError, match="the server could open two sums"):
                        shared(hospitals, dropouts, colluders, min_hospitals=1)
                    continue
                study = shared(hospitals, dropouts, colluders, min_hospitals=1)
                assert 2 * study.threshold > hospitals + colluders
                assert study.threshold == study.quorum == hospitals - dropouts
                assert study.honest_survivors == hospitals - dropouts - colluders >= 1


def test_three_hospitals_tolerate_no_dropout() -> None:
    assert shared(3).threshold == 3
    with pytest.raises(StudyError, match=r"3 hospitals, dropouts = 1, colluders = 1: .* lower them, list more"):
        shared(3, dropouts=1)


def test_shared_noise_supposes_a_colluder() -> None:
    with pytest.raises(StudyError, match=r"colluders.*greater than or equal to 1"):
        shared(4, colluders=0)
    with pytest.raises(StudyError, match="min_hospitals = 4 exceeds the 3 hospitals that are left after 1 dropouts"):
        shared(4, dropouts=1, min_hospitals=4)
    assert parse_study(TEXT).quorum == 2


def test_shared_noise_allows_no_epsilon_of_its_own() -> None:
    text = changed(('noise = "local"', 'noise = "distributed"'), ("rows = 300", "rows = 300\nepsilon = 1.0"))
    with pytest.raises(StudyError, match=r"'north' has an epsilon of its own.*remove the line"):
        parse_study(text)


def test_retries_enter_the_fingerprint_only_if_set() -> None:
    study = shared(4)
    again = study.amended(federation={"retries": 2})
    assert "retries" not in study.canonical()
    assert again.federation.retries == 2
    assert again.fingerprint != study.fingerprint
    assert parse_study(again.to_toml()) == again


def test_coarse_triples_are_in_the_fingerprint_if_set() -> None:
    study = parse_study(TEXT)
    assert "coarse_triples" not in study.canonical()
    several = [study.amended(budget={"coarse_triples": share}) for share in (0, 0.1)]
    assert len({study.fingerprint, *(one.fingerprint for one in several)}) == 3
    assert [parse_study(one.to_toml()) for one in several] == several


def test_a_budget_weight_is_zero_or_not_tiny() -> None:
    assert parse_study(TEXT).amended(budget={"coarse": 0, "pairs": 1e-6}).budget.pairs == 1e-6
    with pytest.raises(StudyError, match=r"a weight is 0 or at least 0\.000001"):
        parse_study(TEXT).amended(budget={"coarse": 1e-7})


def test_fingerprint_of_a_written_study_stays_what_it_is() -> None:
    written = parse_study(TEXT).amended(
        synthesizer={"marginal_weight": 2000.0, "hidden": 256, "fit_steps": 1500},
        training={"batch": 256},
        privacy={"unit": "patient"},
    )  # whatever becomes of the defaults
    assert written.fingerprint == "133fb2f8ce6b96b7681fee03cff02f3a789c921de33208fc8561057612ab7698"


def test_another_kind_keeps_what_every_kind_has() -> None:
    study = parse_study(TEXT).amended(
        synthesizer={"prototypes": 9, "fit_steps": 7, "bins": 8, "pairs": 3, "independent": True}
    )
    other = study.amended(synthesizer={"kind": "maximum-entropy", "pairs": 4}, training={"rounds": 0})
    assert other.synthesizer == MaximumEntropySettings(bins=8, pairs=4, independent=True)
    same = study.amended(synthesizer={"kind": "marginal-gan", "pairs": 4})
    assert same.synthesizer == GanSettings(prototypes=9, fit_steps=7, bins=8, pairs=4, independent=True)


def test_all_faults_of_a_study_are_named_at_once() -> None:
    with pytest.raises(StudyError, match=r"epsilon.*min_hospitals|min_hospitals.*epsilon"):
        parse_study(changed(("epsilon = 3.0", "epsilon = -1.0"), ("min_hospitals = 2", "min_hospitals = 0")))


def test_a_study_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"none\.toml': No such file or directory; check the path"):
        read_study(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes("name = 'é'".encode("latin-1"))
    with pytest.raises(StudyError, match="it is not UTF-8 text"):
        read_study(tmp_path / "latin.toml")


def test_a_study_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(TEXT, encoding="utf-8")
    assert read_study(tmp_path / "study.toml") == parse_study(TEXT)


def test_amending_replaces_keys_and_checks_again() -> None:
    study = parse_study(TEXT)
    amended = study.amended(privacy={"epsilon": 1.0, "noise": None}, study={"seed": 9})
    assert (amended.privacy.epsilon, amended.privacy.noise, amended.seed) == (1.0, "local", 9)
    assert study.privacy.epsilon == 3.0
    with pytest.raises(StudyError, match=r"the command line: .*epsilon"):
        study.amended(privacy={"epsilon": -1.0})


def test_with_hospitals_lowers_the_minimum_only_if_asked() -> None:
    study = parse_study(TEXT)
    alone = (HospitalFacts(name="all", declared_rows=500),)
    assert study.with_hospitals(alone, cap_minimum=True).federation.min_hospitals == 1
    with pytest.raises(StudyError, match="min_hospitals = 2 exceeds the 1 hospitals listed"):
        study.with_hospitals(alone)


def test_an_identifier_suffices_for_the_declared_rows() -> None:
    identifier = '[[schema.columns]]\nname = "id"\nkind = "identifier"\npattern = "###"\n[[hospitals]]'
    assert parse_study(changed(("[[hospitals]]", identifier), ("= 300", "= 800"))).hospitals[0].declared_rows == 800
    with pytest.raises(StudyError, match="column 'id' can be written for 1000 rows, and the hospitals declare 1010"):
        parse_study(changed(("[[hospitals]]", identifier), ("= 300", "= 810")))


def test_training_rows_exclude_the_holdout() -> None:
    study: Study = parse_study(TEXT)
    # 300 declared rows, a fifth held out.
    assert study.training_rows(study.hospitals[0]) == 240
    assert study.hospital("south") == study.hospitals[1]
    assert study.hospital("west") is None


def test_hospital_may_set_only_a_smaller_epsilon() -> None:
    own = parse_study(changed(("declared_rows = 300", "declared_rows = 300\nepsilon = 1.0")))
    assert [own.epsilon_of(hospital) for hospital in own.hospitals] == [1.0, 3.0]
    assert parse_study(own.to_toml()) == own
    with pytest.raises(StudyError, match=r"'north': epsilon = 4 exceeds \[privacy\] epsilon = 3.*lower it"):
        parse_study(changed(("declared_rows = 300", "declared_rows = 300\nepsilon = 4")))
    with pytest.raises(StudyError, match="greater than 0"):
        parse_study(changed(("declared_rows = 300", "declared_rows = 300\nepsilon = 0")))


TIMED = (
    ('name = "died"', 'name = "days"\nkind = "numeric"\nlower = 0\nupper = 999\n[[schema.columns]]\nname = "died"'),
    ('target = "died"', 'target = "died"\ntime = "days"'),
)

DATED = (
    'kind = "numeric"\nlower = 0\nupper = 999',
    'kind = "date"\nlower = "2020-01-01"\nupper = "2020-12-31"',
)


def test_survival_time_enters_the_study_only_if_set() -> None:
    timed = parse_study(changed(*TIMED))
    assert timed.evaluation.time == "days"
    assert parse_study(timed.to_toml()) == timed
    assert "time" not in parse_study(TEXT).canonical()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([('target = "died"', 'target = "died"\ntime = "days"')], "time 'days' is not a numeric column"),
        ([('target = "died"', 'target = "age"\ntime = "age"')], "needs a target of two categories"),
        ([*TIMED, DATED], "time 'days' is a date, not how long"),
        (
            [*TIMED, ('categories = ["no", "yes"]', 'categories = ["no", "yes", "lost"]')],
            "needs a target of two categories",
        ),
    ],
)
def test_a_survival_time_needs_a_number_and_an_event(changes: list[tuple[str, str]], words: str) -> None:
    with pytest.raises(StudyError, match=words):
        parse_study(changed(*changes))


@pytest.mark.parametrize(
    ("line", "is_comma"), [("epsilon = 3,0", True), ("  upper = -12,5  # mmol/L", True), ("epsilon = = 3", False)]
)
def test_a_decimal_comma_in_a_study_gets_a_hint(line: str, is_comma: bool) -> None:
    with pytest.raises(StudyError, match="not valid TOML") as refused:
        parse_study(f"[privacy]\n{line}\n")
    assert ("line 2 has a decimal comma: write a point, as in 3.0" in str(refused.value)) == is_comma
