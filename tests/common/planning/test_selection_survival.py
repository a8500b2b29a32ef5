"""Triples that survival by group needs come before others."""

from __future__ import annotations

from common.planning.phases import COARSE_TRIPLES, vector_phase
from common.planning.selection import survival_triples
from tests.testbeds.clinic import clinic_study
from tests.testbeds.counted import clinic_frame, counted_run, survival_study


def test_survival_triples_are_time_event_and_groups() -> None:
    # Columns: age, lab, sex, outcome.
    assert survival_triples(survival_study()) == ((0, 2, 3),)
    assert survival_triples(clinic_study()) == ()
    twice = clinic_study(evaluation={"time": "lab", "sensitive": ["outcome", "sex"]})
    assert survival_triples(twice) == ((1, 2, 3),)


def test_survival_triples_are_counted_first() -> None:
    study = survival_study()
    public = counted_run(clinic_frame(study), study)
    queries = vector_phase(COARSE_TRIPLES).queries(public, public.released.vectors[COARSE_TRIPLES].asked)
    assert [query.columns for query in queries if len(query.columns) == 3] == [(0, 2, 3)]
