"""Small studies to plan: two numeric columns and an outcome at two wards, and variants of it."""

from __future__ import annotations

from functools import cache

from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.study.sections import HospitalFacts
from common.study.study import Study, parse_study

TEXT = """
[study]
name = "wards"
[[schema.columns]]
name = "age"
kind = "numeric"
lower = 18
upper = 100
[[schema.columns]]
name = "weight"
kind = "numeric"
lower = 30
upper = 200
[[schema.columns]]
name = "died"
kind = "categorical"
categories = ["no", "yes"]
[[hospitals]]
name = "north"
declared_rows = 200
[[hospitals]]
name = "south"
declared_rows = 100
[synthesizer]
kind = "marginal-gan"
[training]
rounds = 2
steps = 20
batch = 64
[privacy]
epsilon = 2.0
delta = 1e-5
[evaluation]
target = "died"
"""

WITHOUT_NUMBERS = """
[study]
name = "labels"
[[schema.columns]]
name = "sex"
kind = "categorical"
categories = ["female", "male"]
[[schema.columns]]
name = "died"
kind = "categorical"
categories = ["no", "yes"]
[[hospitals]]
name = "north"
declared_rows = 200
[synthesizer]
kind = "marginal-gan"
[training]
rounds = 2
steps = 20
[federation]
min_hospitals = 1
[privacy]
epsilon = 2.0
[evaluation]
target = "died"
"""

PLAIN: dict[str, object] = {"marginal_weight": 0}
"""The synthesizer settings of a DP-GAN without marginals."""


def wards(**sections: dict[str, object]) -> Study:
    """Return the study of two wards, with some keys of some sections replaced."""
    return parse_study(TEXT).amended(**sections)


def open_rounds(budget: float, declared: int, hospitals: int = 1, **sections: dict[str, object]) -> Study:
    """Return a study that leaves the number of rounds to the planner.

    Args:
        budget: epsilon.
        declared: rows of each hospital.
        hospitals: how many there are.
        sections: as for `wards`.
    """
    facts = tuple(HospitalFacts(name=f"north-{index}", declared_rows=declared) for index in range(hospitals))
    chosen = wards(privacy={"epsilon": budget, "delta": 1e-6}).with_hospitals(facts, cap_minimum=True)
    document = chosen.model_dump(mode="json", by_alias=True, exclude_none=True)
    del document["training"]["rounds"]
    return Study.model_validate(document).amended(**sections)


def many_categories(categories: int, **synthesizer: object) -> Study:
    """Return a study with two more columns of that many categories each."""
    labels = ", ".join(f'"{label}"' for label in range(categories))
    columns = "".join(
        f'[[schema.columns]]\nname = "{name}"\nkind = "categorical"\ncategories = [{labels}]\n'
        for name in ("icd", "drug")
    )
    return parse_study(TEXT.replace("[[hospitals]]", columns + "[[hospitals]]", 1)).amended(synthesizer=synthesizer)


def with_own_epsilon(own: float | None, **sections: dict[str, object]) -> Study:
    """Return a study whose second hospital has an epsilon of its own."""
    north, south = wards().hospitals
    return wards(**sections).with_hospitals((north, south.model_copy(update={"epsilon": own})))


def synchronous(retries: int = 0, spread: int = 100, **sections: dict[str, object]) -> Study:
    """Return a study of four hospitals that share noise and train in rounds of one step.

    Args:
        retries: failed phases that may be tried again.
        spread: by how many rows each hospital is larger than the one before.
        sections: as for `wards`.
    """
    facts = tuple(HospitalFacts(name=f"h{index}", declared_rows=200 + spread * index) for index in range(4))
    training: dict[str, object] = {"rounds": 60, "steps": 1, "batch": 64} | sections.pop("training", {})
    synthesizer = {"bins": 8, "pairs": 3, "hidden": 32} | sections.pop("synthesizer", {})
    shared_noise: dict[str, object] = {"noise": "distributed"} | sections.pop("privacy", {})
    chosen = wards(training=training, synthesizer=synthesizer).with_hospitals(facts)
    return chosen.amended(privacy=shared_noise, federation={"retries": retries}, **sections)


@cache
def marginal_plan(budget: float, hospitals: int, rounds: int = 2) -> Plan:
    """Return the plan for that epsilon and number of hospitals; calibrated once in a test session."""
    facts = tuple(HospitalFacts(name=f"h{index}", declared_rows=300 + 100 * (index // 2)) for index in range(hospitals))
    chosen = wards(privacy={"epsilon": budget}, training={"rounds": rounds})
    return make_plan(chosen.with_hospitals(facts, cap_minimum=True))


def shared_study(hospitals: int, dropouts: int = 0, colluders: int = 1, retries: int = 0, budget: float = 1.0) -> Study:
    """Return a study without rounds whose hospitals share the noise of sums."""
    facts = tuple(HospitalFacts(name=f"h{index}", declared_rows=400) for index in range(hospitals))
    chosen = wards(privacy={"epsilon": budget}, training={"rounds": 0}, synthesizer={"bins": 8, "pairs": 3})
    rules = {"dropouts": dropouts, "colluders": colluders, "retries": retries}
    return chosen.with_hospitals(facts, cap_minimum=True).amended(privacy={"noise": "distributed"}, federation=rules)


@cache
def shared_plan(hospitals: int, dropouts: int = 0, colluders: int = 1, retries: int = 0, budget: float = 1.0) -> Plan:
    """Return the plan of `shared_study`; calibrated once in a test session."""
    return make_plan(shared_study(hospitals, dropouts, colluders, retries, budget))
