"""The sections of a study on OMOP databases: what they become, and what is refused without a database."""

from __future__ import annotations

import pytest

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.errors import StudyError
from common.study.study import Study, parse_study
from tests.testbeds.omop_database import omop_study

VISITS = '[visits]\nwindow = [0, 90]\nmost_visits = 3\n[[features]]\nname = "sex"'
EACH = ('window = [1, 90]\nsummary = "any"', 'summary = "each visit"')


def column(study: Study, name: str) -> Categorical | Numeric:
    found = next(column for column in study.declared.columns if column.name == name)
    assert isinstance(found, Categorical | Numeric)
    return found


class TestColumns:
    def test_follow_from_the_features(self) -> None:
        study = omop_study()
        sex, glucose, bleed = (column(study, name) for name in ("sex", "glucose", "bleed"))
        assert sex == Categorical(name="sex", categories=("female", "male"), missing=True)
        assert glucose == Numeric(name="glucose", lower=20, upper=600, unit="mg/dL", missing=True)
        assert bleed == Categorical(name="bleed", categories=("no", "yes"))

    def test_a_day_and_a_count_are_numbers(self) -> None:
        day = omop_study(('summary = "any"', 'summary = "first"'), ('target = "bleed"', 'target = "sex"'))
        assert column(day, "bleed") == Numeric(name="bleed", lower=1, upper=90, unit="days", missing=True)
        time = omop_study(('"any"', '"time to event"'), ('target = "bleed"', 'target = "sex"'))
        assert column(time, "bleed") == Numeric(name="bleed", lower=0, upper=90, unit="days")
        count = omop_study(('summary = "any"', 'summary = "count"\nupper = 4'), ('target = "bleed"', 'target = "sex"'))
        assert column(count, "bleed") == Numeric(name="bleed", lower=0, upper=4)

    def test_an_age_has_the_bounds_of_the_cohort(self) -> None:
        study = omop_study(('field = "sex"\nvalues = { female = 8532, male = 8507 }', 'field = "age"'))
        assert column(study, "sex") == Numeric(name="sex", lower=18, upper=90, unit="years")

    def test_each_visit_makes_a_study_of_visits(self) -> None:
        study = omop_study(EACH, ('[[features]]\nname = "sex"', VISITS))
        assert study.has_visits
        assert (study.declared.patient, study.declared.time, study.declared.most_visits) == ("person_id", "day", 3)
        per = {column.name: column.per for column in study.declared.columns}
        assert per == {"day": None, "sex": "patient", "glucose": "patient", "bleed": None}


class TestStudy:
    def test_a_window_that_is_none_is_none(self) -> None:
        extraction = omop_study().extraction
        assert extraction is not None
        sex = extraction.features[0]
        assert sex.window is None
        assert type(sex).model_validate(sex.model_dump()) == sex

    def test_comes_back_from_its_text(self) -> None:
        study = omop_study()
        assert parse_study(study.to_toml()) == study
        assert study.amended(privacy={"epsilon": 2.0}).extraction == study.extraction

    def test_without_a_source_has_no_extraction(self) -> None:
        with pytest.raises(StudyError, match=r"\[study_cohort\] is for studies on OMOP databases; add \[source\]"):
            omop_study(('[source]\nkind = "omop"\n', ""), ("[privacy]", SCHEMA + "[privacy]"))

    @pytest.mark.parametrize(
        ("old", "new", "cause"),
        [
            ('kind = "omop"', 'kind = "i2b2"', "source.kind"),
            ("[study_cohort]\ndomain", "[study_cohort]\nage_range = [1, 2]\ndomain", "did you mean 'age'"),
            ("age = [18, 90]", "age = [90, 18]", "no range of years"),
            ("concepts = [10]", "concepts = []", "study_cohort.concepts"),
            ("concepts = [10]", "concepts = [10, 10]", "concept 10 is listed twice"),
            ('concepts = [10]', 'concepts = ["10 OR 1 = 1"]', "study_cohort.concepts.0"),
            ("window = [1, 90]", "window = [90, 1]", "ends before it starts"),
            ("window = [1, 90]\n", "", "add window"),
            ("window = [-365, 0]", "window = [-365, 5]", r"overlaps \[1, 90\] of the target 'bleed'"),
            ('1, 90]\nsummary = "any"', '-1, 90]\nsummary = "time to event"', "starts at day 0 or later"),
            ('summary = "any"', 'summary = "time to event"\nupper = 90', "has no use for upper"),
            ('field = "sex"', 'field = "name"', "features.0.field"),
            ('field = "sex"\n', "", "lacks field"),
            ('summary = "any"', 'summary = "mean"', "a condition has no mean"),
            ('summary = "any"', 'summary = "each visit"', "remove window"),
            ('window = [1, 90]\nsummary = "any"', 'summary = "each visit"', r"add \[visits\]"),
            ('[[features]]\nname = "sex"', VISITS, "no feature has summary 'each visit'"),
            ('units = { 50 = 1.0 }\n', "", "neither units .* nor values"),
            ('[[features]]\nname = "sex"', VISITS.replace("[0, 90]", "[5, 5]"), "window is one day"),
            ('domain = "condition"', 'domain = "condition"\nfield = "sex"', "field is for domain 'person'; remove it"),
            ('summary = "any"', "", "lacks summary"),
            ('"last"\nunits = { 50 = 1.0 }', '"mean"\nvalues = { high = 7 }', "labels have no mean"),
            ("units = { 50 = 1.0 }", 'units = { mg = 1.0 }', "'mg' is no concept id of a unit"),
            ("units = { 50 = 1.0 }", "units = { 50 = 0.0 }", "factor 0 of unit 50"),
            ("upper = 600.0\n", "", "lacks upper"),
            ("upper = 600.0", "upper = 1e12", "a bound is above"),
            ("male = 8507", f"male = {list(range(1, 502))}", "at most 500 items"),
            ("units = { 50 = 1.0 }", f"units = {{ {', '.join(f'{n} = 1' for n in range(501))} }}", "at most 500"),
            ("male = 8507", "\n".join(["x = 1", *(f"x{n} = 1" for n in range(1001))]).replace("\n", ", "), "at most"),
            ("male = 8507", 'male = "8507"', "'sex': label 'male' has something else than concept ids"),
            ("male = 8507", "male = [8507, 0.5]", "'sex': label 'male' has something else than concept ids"),
            ("male = 8507", f"male = {2**31}", "'sex': label 'male' has something else than concept ids"),
            ("male = 8507", "male = 0", "'male' has concept 0"),
            ("male = 8507", "male = []", "a label has no concept"),
            ("{ female = 8532, male = 8507 }", "[8532]", "'sex': values is no table"),
            ("window = [1, 90]", "window = [1]", "'bleed': window is not two whole numbers"),
            ("window = [1, 90]", 'window = ["1", 90]', "'bleed': window is not two whole numbers"),
            ("window = [1, 90]", "window = []", "'bleed': window is not two whole numbers"),
            ('domain = "condition"', 'domain = "disease"', "features.2.domain. input should be 'person', 'condition'"),
            ('domain = "condition"', 'domain = "drug_era"', "'observation', 'procedure', 'visit' or 'death'"),
            ('domain = "drug"', 'domain = "death"', "study_cohort.domain"),
            ('domain = "condition"\nconcepts = [20]', 'domain = "procedure"', "lists no concepts"),
            ('summary = "any"', 'summary = "first"\nvalues = { yes = 21 }', "a condition has no values; remove units"),
            ('domain = "condition"', 'domain = "death"\nunits = { 50 = 1.0 }', "a death has no values; remove units"),
            ("male = 8507", "male = 8532", "concept 8532 stands for two labels"),
            ('summary = "any"', 'summary = "any"\nupper = 3.0', "has no use for upper"),
            ('name = "sex"', 'name = "person_id"', "rename it"),
            ('unit = "patient"\nepsilon', "epsilon", 'set .privacy. unit = "patient"'),
        ],
    )  # fmt: skip
    def test_what_does_not_fit_is_named(self, old: str, new: str, cause: str) -> None:
        with pytest.raises(StudyError, match=cause):
            omop_study((old, new))

    def test_windows_of_one_concept_must_not_overlap(self) -> None:
        again = '[[features]]\nname = "later"\ndomain = "condition"\nconcepts = [20, 21]\nsummary = "any"\n'
        beside = omop_study(("[privacy]", f"{again}window = [91, 180]\n[privacy]"))
        assert len(beside.declared.columns) == 4
        with pytest.raises(StudyError, match=r"'bleed' and 'later' both summarize concept 20, .* overlap"):
            omop_study(("[privacy]", f"{again}window = [90, 180]\n[privacy]"))

    @pytest.mark.parametrize("summary", ["count", "last", "each visit"])
    def test_a_person_dies_once(self, summary: str) -> None:
        window = "" if summary == "each visit" else "window = [1, 90]\n"
        with pytest.raises(StudyError, match="a person dies once; choose any, first or time to event"):
            omop_study(
                ('condition"\nconcepts = [20]', 'death"'),
                ('window = [1, 90]\nsummary = "any"', f'{window}summary = "{summary}"'),
            )

    def test_deaths_of_any_cause_must_not_overlap(self) -> None:
        again = '[[features]]\nname = "later"\ndomain = "death"\nsummary = "any"\nwindow = [90, 365]\n'
        with pytest.raises(StudyError, match=r"'bleed' and 'later' both summarize every death, .* overlap"):
            omop_study(('condition"\nconcepts = [20]', 'death"'), ("[privacy]", f"{again}[privacy]"))

    def test_kinds_of_visits_need_their_concepts(self) -> None:
        with pytest.raises(StudyError, match="'bleed' lacks values, the concepts of the kinds of visits"):
            omop_study(
                EACH,
                ('[[features]]\nname = "sex"', VISITS),
                ('domain = "condition"\nconcepts = [20]', 'domain = "visit"'),
            )

    def test_columns_are_not_declared_twice(self) -> None:
        with pytest.raises(StudyError, match=r"\[schema\] follows from \[\[features\]\]"):
            omop_study(("[privacy]", SCHEMA + "[privacy]"))


SCHEMA = (
    '[[schema.columns]]\nname = "bleed"\nkind = "categorical"\ncategories = ["no", "yes"]\n'
    '[[schema.columns]]\nname = "age"\nkind = "numeric"\nlower = 0\nupper = 9\n'
)
