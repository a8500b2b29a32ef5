"""SQL texts: they hold names of the data model and numbers only, and change with what they take."""

from __future__ import annotations

import re

from common.omop.definitions import Extraction
from common.omop.domains import EVENTS, OTHER_TABLES
from common.omop.sql import COHORT, VISITS, digest, queries
from common.omop.words import sql_lines, what_is_taken
from tests.testbeds.omop_database import omop_study
from tests.testbeds.omop_definitions import DEFINITIONS, NSAID, OF_VISITS

WORDS = """
and any as asc avg between by case cast converted converted_event count date day decimal desc double else end entry
event event_date event_id event_rank exists extract feature_value from group having in index_date interval is join
last_day left min max not null observed on or order over partition precision ranked row_number select sum then
visit_day visits when where study_cohort union with year coalesce
"""


def every_extraction() -> Extraction:
    features = [definition.settings for definition in (*DEFINITIONS, *OF_VISITS)]
    return Extraction.model_validate(
        {
            "source": {"kind": "omop"},
            "study_cohort": {"domain": "drug", "concepts": list(NSAID)},
            "features": features,
            "visits": {"window": [-10, 10], "most_visits": 4},
        }
    )


def test_texts_hold_known_names_and_numbers_only() -> None:
    tables = {table.table for table in EVENTS.values()} | OTHER_TABLES.keys()
    names = {name for table in EVENTS.values() for name in table.columns}
    names |= {name for columns in OTHER_TABLES.values() for name in columns}
    for query in queries(every_extraction()):
        assert not re.search(r"['\";]|--|/\*", query.sql)
        words = set(re.findall(r"[a-z_][a-z0-9_]*", query.sql.lower()))
        assert words <= set(WORDS.split()) | tables | names


def test_names_and_labels_never_enter_a_text() -> None:
    hostile = "x'; DROP TABLE person; --"
    study = omop_study(('name = "glucose"', f'name = "{hostile}"'), ("female =", f'"{hostile}" ='))
    assert study.extraction is not None
    assert all("DROP" not in query.sql for query in queries(study.extraction))
    # In the statement the name is quoted, on a line that is a comment.
    shown = [line for line in sql_lines(study.extraction) if "DROP" in line]
    assert all(line.startswith("-- \"x'; DROP") for line in shown)


def test_there_is_one_text_for_every_feature() -> None:
    extraction = every_extraction()
    titles = [query.title for query in queries(extraction)]
    assert titles == [COHORT, VISITS, *(feature.name for feature in extraction.features)]
    assert len({query.sha256 for query in queries(extraction)}) == len(titles)


def test_the_digest_covers_everything_that_is_taken() -> None:
    changes = [
        ("concepts = [20]", "concepts = [21]"),
        ("window = [1, 90]", "window = [1, 91]"),
        ("prior_observation_days = 30", "prior_observation_days = 31"),
        ("female = 8532", "women = 8532"),
        ("50 = 1.0", "50 = 1.5"),
        ("upper = 600.0", "upper = 500.0"),
    ]
    studies = [omop_study(), *(omop_study(change) for change in changes)]
    digests = {digest(study.extraction) for study in studies if study.extraction is not None}
    assert len(digests) == len(studies)
    budget = omop_study(("epsilon = 3.0", "epsilon = 2.0")).extraction
    assert budget is not None
    assert digest(budget) in digests


def test_words_say_of_which_causes_deaths_are() -> None:
    extraction = omop_study(('condition"\nconcepts = [20]', 'death"')).extraction
    assert extraction is not None
    assert '    "bleed": death of any cause on day 1 to 90: whether there is one' in what_is_taken(extraction)


def test_words_say_what_is_taken() -> None:
    extraction = omop_study().extraction
    assert extraction is not None
    text = "\n".join(what_is_taken(extraction))
    assert digest(extraction) in text
    assert "whose first drug of [10] or below came at the age of 18 to 90, observed for 30 days before" in text
    assert '"bleed": condition of [20] or below on day 1 to 90: whether there is one' in text
