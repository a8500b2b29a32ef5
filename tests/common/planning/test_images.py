from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from common.errors import WireError
from common.images.cells import Pixels
from common.marginals.released import Asked
from common.planning.images import image_model, scale_of
from common.planning.phases import vector_phase
from common.planning.plan import IMAGE_MEANS, IMAGE_MOMENTS, Plan
from common.planning.planner import make_plan
from common.planning.public_run import PublicRun
from common.privacy.accountant import epsilon
from common.privacy.events import DistributedGaussianVector
from common.privacy.mechanisms import SeededNoise, release_counts
from common.study.study import Study
from tests.testbeds.images import images_study, images_table, row_of, shard_of

WHITE = np.full((8, 10), 255, dtype=np.uint8)
CHECKED: Pixels = (255 * (np.indices((8, 10)).sum(axis=0) % 2)).astype(np.uint8)


def finished_run(study: Study, raw: pd.DataFrame) -> PublicRun:
    """Return a run over one table, with the noise that all hospitals together add."""
    public, records = PublicRun(study, make_plan(study)), shard_of(raw, study)
    for planned in public.plan.vectors:
        phase = vector_phase(planned.name)
        if planned.name in ("histograms", IMAGE_MEANS, IMAGE_MOMENTS):
            sigma = public.plan.total_deviation(planned.name)
            noise = SeededNoise(1).named(planned.name)
            public = public.after(planned.name, release_counts(phase.answer(public, Asked(), records), sigma, noise))
    return public


@pytest.fixture(scope="module")
def finished() -> PublicRun:
    return finished_run(images_study(), images_table(300))


class TestOnePatient:
    @pytest.mark.parametrize("images", [[], [WHITE], [CHECKED], [WHITE, CHECKED, 0 * WHITE], [WHITE] * 7])
    def test_changes_no_more_than_is_charged(self, finished: PublicRun, images: list[Pixels]) -> None:
        study, plan, raw = finished.study, finished.plan, images_table(20, 5)
        with_patient = shard_of(pd.concat([raw, row_of("yes", images)], ignore_index=True), study)
        without = shard_of(raw, study)
        for name in (IMAGE_MEANS, IMAGE_MOMENTS):
            phase = vector_phase(name)
            change = phase.answer(finished, Asked(), with_patient) - phase.answer(finished, Asked(), without)
            event = plan.vector_event(plan.hospitals[0], name)
            assert isinstance(event, DistributedGaussianVector)
            assert int((change.astype(object) ** 2).sum()) <= event.squared_sensitivity
            assert np.abs(change).max() <= event.largest_change


class TestPlan:
    def test_spends_epsilon(self) -> None:
        plan = make_plan(images_study())
        assert Plan.from_json(plan.to_json()) == plan
        for hospital in plan.hospitals:
            assert epsilon(plan.events(hospital), plan.delta) == pytest.approx(3.0, abs=0.01)

    def test_scale_leaves_room_for_all_patients(self) -> None:
        # 2^30 / (2 x 300 + 1000 x 3) = 298,262, above the largest scale.
        assert scale_of(images_study()) == 2**16
        large = images_study(privacy={"delta": 1e-7})
        facts = [facts.model_copy(update={"declared_rows": 200_000}) for facts in large.hospitals]
        # 2^30 / (2 x 600,000 + 3,000) = 892.6, so 2^9.
        assert scale_of(large.with_hospitals(tuple(facts))) == 2**9

    def test_length_follows_from_the_schema(self, finished: PublicRun) -> None:
        lengths = [vector_phase(name).shape(finished, Asked()).length for name in (IMAGE_MEANS, IMAGE_MOMENTS)]
        assert lengths == [2 * (1 + 10), 2 * (55 + 8)]

    def test_asked_columns_are_refused(self, finished: PublicRun) -> None:
        with pytest.raises(WireError, match="must name no columns"):
            vector_phase(IMAGE_MEANS).shape(finished, Asked(np.array([0])))

    def test_sentences_say_what_leaves(self, finished: PublicRun) -> None:
        for name in (IMAGE_MEANS, IMAGE_MOMENTS):
            (told,) = vector_phase(name).sentences(finished.study, finished.plan, finished.plan.hospitals[0])
            assert told.startswith("- under masks, noisy sums over the images in 'film'")
            assert "{" not in told


class TestModel:
    def test_class_means_come_back_through_noise(self, finished: PublicRun) -> None:
        model = image_model(finished)
        assert model is not None
        assert model.means[1, 2] * model.means[0, 2] < 0  # bright on one side, or on the other

    def test_is_none_before_the_moments(self) -> None:
        study = images_study()
        assert image_model(PublicRun(study, make_plan(study))) is None
