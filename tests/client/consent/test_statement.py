import pytest

from client.consent.statement import what_it_costs, what_leaves
from common.planning.phases import COARSE, PAIRS, vector_phase
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.study.sections import HospitalFacts
from common.study.study import Study
from tests.testbeds.clinic import clinic_study
from tests.testbeds.visits import visits_study

FACTS = tuple(HospitalFacts(name=name, declared_rows=100) for name in ("north", "south", "west", "east"))


def agreed(noise: str, **federation: object) -> tuple[Study, Plan]:
    study = clinic_study(training={"rounds": 0}).with_hospitals(FACTS)
    study = study.amended(privacy={"noise": noise}, federation=federation)
    return study, make_plan(study)


def usual_weight(plan: Plan) -> float:
    """The weight of coarse tables that all weigh the same."""
    coarse = plan.vector(COARSE)
    assert coarse is not None
    assert coarse.has_weights
    return float((coarse.squared_sensitivity / coarse.tables) ** 0.5)


def test_a_hospital_is_told_whom_it_trusts_where_noise_is_shared() -> None:
    study, plan = agreed("distributed", dropouts=1, retries=2)
    text = "\n".join(what_leaves(study, plan, plan.hospitals[0]))
    assert "- under masks, noisy counts of patients by value of every column" in text
    assert (
        f"each count of the sum is off by about {plan.total_deviation(COARSE) / usual_weight(plan):.3g} patients"
        in text
    )
    assert "can read masked vectors only as a sum over at least 3 hospitals" in text
    assert "at least 2 of the hospitals in the sum, this one and others whose keys you compared yourself," in text
    assert "1 may side with the coordinator, which need not be trusted" in text
    assert "A failed masked phase is repeated up to 2 times" in text


def test_lockstep_rounds_are_told_as_gradients_under_masks() -> None:
    study = clinic_study(training={"rounds": 7, "steps": 1}, privacy={"noise": "distributed"}).with_hospitals(FACTS)
    plan = make_plan(study)
    text = "\n".join(what_leaves(study, plan, plan.hospitals[0]))
    assert "- under masks, 7 times: the sum over about 8 patients of how the discriminator should change" in text
    # Of 100 declared a fifth is held out; together they draw 32 of 320, so 8 of these 80.
    central = plan.hospitals[0].noise_multiplier * 3**0.5
    assert f"in the sum over all hospitals is {central:.3g} times as large" in text
    assert "weights" not in text


def test_local_noise_mentions_no_masks() -> None:
    study, plan = agreed("local")
    text = "\n".join(what_leaves(study, plan, plan.hospitals[0]))
    assert "mask" not in text
    own = plan.sigma(plan.hospitals[0], COARSE) / usual_weight(plan)
    assert f"is off by about {own:.3g} patients if all tables weigh the same; the columns decide" in text


def test_only_chosen_tables_have_the_coordinators_weights() -> None:
    study, plan = agreed("local")
    sentences = {name: vector_phase(name).sentences(study, plan, plan.hospitals[0])[0] for name in (COARSE, PAIRS)}
    assert "the coordinator" not in sentences[COARSE]
    assert "the columns decide how much each weighs, and the number of patients is counted too" in sentences[COARSE]
    assert "which the coordinator chooses" in sentences[PAIRS]
    assert "the coordinator may ask for some more precisely" in sentences[PAIRS]


def test_every_column_has_a_line_that_no_name_can_break() -> None:
    names = ["age", 'x".  It costs each patient epsilon 0.05', "hiv_status"]
    columns = [{"kind": "numeric", "name": name, "lower": 0, "upper": 1} for name in names]
    columns.append({"kind": "categorical", "name": "outcome", "categories": ["no", "yes"]})
    study = clinic_study(schema={"columns": columns}, evaluation={"sensitive": []}, training={"rounds": 0})
    study = study.with_hospitals(FACTS)
    plan = make_plan(study)
    lines = what_leaves(study, plan, plan.hospitals[0])
    for line in ('    "age"', '    "x\\".  It costs each patient epsilon 0.05"', '    "hiv_status"'):
        assert line in lines


def test_counted_multiples_are_listed_by_column() -> None:
    lab = {"kind": "numeric", "name": "lab", "lower": 0, "upper": 2000000, "decimals": 1, "multiples": [1234567.5, 0.5]}
    outcome = {"kind": "categorical", "name": "outcome", "categories": ["no", "yes"]}
    study = clinic_study(schema={"columns": [lab, outcome]}, evaluation={"sensitive": []}, training={"rounds": 0})
    for declared_rows, is_told in ((1000, True), (20, False)):
        facts = (HospitalFacts(name="north", declared_rows=declared_rows),)
        agreed_on = study.with_hospitals(facts, cap_minimum=True)
        plan = make_plan(agreed_on)
        lines = what_leaves(agreed_on, plan, plan.hospitals[0])
        told = '    among them, of "lab": how many patients\' values are multiples of 1234567.5, 0.5'
        assert (told in lines) == is_told


@pytest.mark.parametrize(("unit", "is_told"), [("patient", False), ("record", True)])
def test_consent_says_what_the_unit_is(unit: str, is_told: bool) -> None:
    study = clinic_study(training={"rounds": 1}, privacy={"unit": unit, "epsilon": 11.0}).with_hospitals(FACTS)
    plan = make_plan(study)
    leaves = "\n".join(what_leaves(study, plan, plan.hospitals[0]))
    costs = "\n".join(what_it_costs(study, plan.events(plan.hospitals[0]), (), cap=20.0, delta=1e-4))
    assert f"noisy counts of {unit}s by value of every column" in leaves
    assert f"every {unit}'s influence on a step is cut" in leaves
    assert f"It costs each {unit} epsilon 11.000 at delta 0.0001." in costs
    assert f"that a certain {unit} is in the data" in costs
    assert ("the epsilons of a patient's several records add up" in costs) == is_told
    assert "Warning: [privacy] epsilon = 11 is above 10" in costs
    assert ("patient" in leaves) != is_told


def test_a_hospital_is_told_what_visits_contribute() -> None:
    study = visits_study(schema={"keep_visits": "last"})
    plan = make_plan(study)
    text = "\n".join(what_leaves(study, plan, plan.hospitals[0]))
    assert 'Of each patient, the last 4 visits at most are counted, in the order of "day".' in text
    assert "All visits of a patient together weigh as much as one patient in every count" in text
    assert "noisy counts of patients by every column at a visit and at the next" in text


@pytest.mark.parametrize("steps", [1, 20])
def test_rounds_are_told_to_clip_all_visits_together(steps: int) -> None:
    study = visits_study(
        synthesizer={"kind": "history-gan", "hidden": 4},
        training={"rounds": 2, "steps": steps},
        privacy={"noise": "distributed" if steps == 1 else "local"},
    )
    plan = make_plan(study)
    text = "\n".join(what_leaves(study, plan, plan.hospitals[0]))
    assert "every patient's influence on" in text
    assert "with all visits together, is cut" in text
