"""A hospital evaluates a run's table by itself: on the agent's split, in files that stay there."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client.shard import Shard, StreamedShard
from client.site import evaluation
from client.site.config import Site, read_site
from client.site.creation import init_site
from client.site.evaluation import evaluate_run
from client.site.importing import import_table
from client.site.opening import open_hospital
from client.site.state import split_key
from common.errors import DataError, SiteError
from common.evaluation import assessment
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.handling import HANDLING
from common.evaluation.utility.grades import Verdict
from common.evaluation.visits.analysis import VisitAnalysis
from common.evaluation.visits.evidence import Distribution, VisitEvidence
from common.evaluation.visits.measures import VISIT_MEASURES
from common.images.cells import pixels_of
from common.images.png import png_of
from common.planning.planner import make_plan
from common.planning.public_run import HISTOGRAMS, PublicRun
from common.protocol.messages import CountsReply, CountsRequest, EnrollRequest
from common.study.schema import VISIT
from common.study.study import Study
from common.tables.conforming import conform
from tests.testbeds import approving
from tests.testbeds.clinic import clinic_table
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.images import SIZE, images_study, images_table
from tests.testbeds.site_folder import STUDY, make_site, patients
from tests.testbeds.visits import invented_visits, visits_study

pytestmark = pytest.mark.usefixtures("quick_learners")

UNMEASURED = VisitEvidence(
    target="stage",
    train_patients=0,
    holdout_patients=0,
    synthetic_patients=0,
    train_visits=0,
    synthetic_visits=0,
    verdict=Verdict("care", "Usable with care.", (), ()),
    measures=dict.fromkeys(VISIT_MEASURES),
    time_unit=None,
    lengths=Distribution((), (), ()),
    gaps=Distribution((), (), ()),
    persistence=(),
    transitions=(),
    courses=(),
    rounds=None,
)
"""An evaluation of visits that measured nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = make_site(tmp_path, patients())
    import_table(made)
    return made


@pytest.fixture
def synthetic(tmp_path: Path) -> Path:
    clinic_table(80, seed=9).to_csv(tmp_path / "synthetic.csv", index=False)
    return tmp_path / "synthetic.csv"


def approve(site: Site, study: Study = STUDY) -> None:
    path = site.state.parent / "study.toml"
    path.write_text(study.to_toml())
    approving.approve(site.state, path, "run-1")


def released(site: Site, study: Study = STUDY) -> CountsReply:
    """The histograms that the site sends in a run of the study."""
    approve(site, study)
    with open_hospital(site) as hospital:
        plan = make_plan(study).to_json()
        hospital.handle(EnrollRequest("run-1", study.to_toml(), study.fingerprint, plan, "{}"))
        reply = hospital.handle(CountsRequest("run-1", HISTOGRAMS))
    assert isinstance(reply, CountsReply)
    return reply


class TestSplit:
    def test_is_that_of_the_agent(self, site: Site, synthetic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        counts, plan = released(site).counts, make_plan(STUDY)
        used: list[StreamedShard] = []
        with open_hospital(site) as hospital:
            used.append(hospital._open_shard(STUDY))  # type: ignore[arg-type]
        seen: list[EvaluationData] = []

        def keep(data: EvaluationData) -> assessment.Assessment:
            seen.append(data)
            return assessment.assess(data)

        monkeypatch.setattr("client.site.evaluation.assess", keep)
        evaluate_run(site, "run-1", synthetic)
        public = PublicRun(STUDY, plan).after(HISTOGRAMS, counts)
        np.testing.assert_array_equal(public.encoder.encode(seen[0].train), used[0].encoded(public))
        assert len(seen[0].train) + len(seen[0].holdout) == 100
        assert len(seen[0].holdout) > 0
        assert seen[0].epsilon is not None
        assert 0 < seen[0].epsilon < STUDY.privacy.epsilon  # histograms alone


class TestImages:
    def test_are_read_beside_the_table(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        study = images_study(privacy={"noise": "local"}, evaluation={"holdout_fraction": 0.2})
        raw, drawn = images_table(100), images_table(10, seed=1)
        raw.insert(0, "patient", [f"p{row}" for row in range(len(raw))])
        site = make_site(tmp_path, raw)
        import_table(site)
        released(site, study)
        (tmp_path / "run" / "images").mkdir(parents=True)
        for row, cell in enumerate(drawn["film"]):
            (tmp_path / "run" / "images" / f"{row}.png").write_bytes(png_of(pixels_of(cell, SIZE)[0]))
        table = tmp_path / "run" / "synthetic.csv"
        drawn.assign(film=[f"images/{row}.png" for row in range(10)]).to_csv(table, index=False)

        def compare(data: EvaluationData) -> None:
            pd.testing.assert_frame_equal(data.synthetic, conform(drawn, study.table))
            assert data.images is not None
            assert len(data.images.training.labels) == len(data.train) < 100
            assert len(data.images.training.labels) + len(data.images.held_out.labels) == 100
            expected = [pixels_of(cell, SIZE)[0] for cell in drawn["film"]]
            np.testing.assert_array_equal(data.images.synthetic.pixels, expected)
            raise KeyboardInterrupt  # the comparison itself is the same as of any table

        monkeypatch.setattr("client.site.evaluation.assess", compare)
        with pytest.raises(KeyboardInterrupt):
            evaluate_run(site, "run-1", table)
        (tmp_path / "run" / "images" / "3.png").unlink()
        with pytest.raises(DataError, match=r"synthetic.csv: column 'film', row 4 names a file that is not there"):
            evaluate_run(site, "run-1", table)


class TestVisits:
    @pytest.fixture
    def visits(self, tmp_path: Path) -> Site:
        invented_visits(120).to_csv(tmp_path / "visits.csv", index=False)
        settings = {"name": "north", "cohort": "north", "data": str(tmp_path / "visits.csv"), "patient_column": "id"}
        site = init_site(
            tmp_path / "site", settings | {"visits": True, "declared_rows": 400, "max_epsilon": 9.0, "delta": 1e-5}
        )
        import_table(site)
        released(site, visits_study())
        return site

    def test_are_compared_with_the_split_of_the_agent(
        self, visits: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = invented_visits(30, seed=3)
        (tmp_path / "run").mkdir()
        rows.drop(columns="sex").assign(**{VISIT: "1"}).to_csv(tmp_path / "run" / "visits.csv", index=False)
        rows[["id", "sex"]].drop_duplicates().to_csv(tmp_path / "run" / "patients.csv", index=False)
        rows.to_csv(tmp_path / "long.csv", index=False)
        seen: list[VisitAnalysis] = []

        def keep(analysis: VisitAnalysis) -> VisitEvidence:
            seen.append(analysis)
            return UNMEASURED

        monkeypatch.setattr("client.site.evaluation.assess_visits", keep)
        for name in ("run", "long.csv"):
            report = evaluate_run(visits, "run-1", tmp_path / name)
        study = visits_study()
        whole = Shard(invented_visits(120), study, key=split_key(visits, study))
        held_out = int((whole.holdout[VISIT] == "1").sum())
        assert [analysis.holdout.patients for analysis in seen] == [held_out] * 2
        assert [analysis.train.patients for analysis in seen] == [120 - held_out] * 2
        pd.testing.assert_frame_equal(seen[0].synthetic.table, seen[1].synthetic.table, check_like=True)
        assert seen[0].synthetic.patients == 30
        document = json.loads((report.folder / "report.json").read_text())
        assert (document["kind"], document["handling"]) == ("visits", HANDLING)
        assert HANDLING in (report.folder / "report.html").read_text()

    def test_with_other_columns_are_refused(self, visits: Site, tmp_path: Path) -> None:
        table = invented_visits(30).drop(columns="weight")
        table.to_csv(tmp_path / "long.csv", index=False)
        with pytest.raises(DataError, match="lacks column 'weight'"):
            evaluate_run(visits, "run-1", tmp_path / "long.csv")
        table.assign(weight="", name="x").to_csv(tmp_path / "long.csv", index=False)
        with pytest.raises(DataError, match="has a column 'name'"):
            evaluate_run(visits, "run-1", tmp_path / "long.csv")


class TestReport:
    def test_is_for_this_account_and_says_that_it_stays(self, site: Site, synthetic: Path) -> None:
        released(site)
        printed = fedsynth("site", "evaluate", "run-1", synthetic, "--site", site.state)
        assert printed.exit_code == 0, output_of(printed)
        assert f"This report {HANDLING}." in output_of(printed)
        folder = site.state / "evaluations" / "run-1"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for name in ("report.json", "report.html"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
            assert HANDLING in (folder / name).read_text()
        document = json.loads((folder / "report.json").read_text())
        assert document["train_rows"] + document["holdout_rows"] == 100
        assert document["measures"]["tvd1"] is not None

    @pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
    def test_goes_to_no_folder_that_others_can_write(
        self, site: Site, synthetic: Path, tmp_path: Path, mode: int
    ) -> None:
        released(site)
        (tmp_path / "out").mkdir()
        (tmp_path / "out").chmod(mode)
        with pytest.raises(SiteError, match=r"other accounts can write to '.*out'; run `chmod go-w"):
            evaluate_run(site, "run-1", synthetic, tmp_path / "out")
        assert not list((tmp_path / "out").iterdir())

    def test_goes_to_no_folder_of_another_account(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(SiteError, match=r"belongs to account \d+; choose a folder of this account for --out"):
            evaluation._write(tmp_path / "out", {"report.json": "exact"})
        assert not list((tmp_path / "out").iterdir())

    def test_goes_where_out_says_and_may_be_repeated(self, site: Site, synthetic: Path, tmp_path: Path) -> None:
        released(site)
        with open_hospital(site):  # the agent runs
            for _ in range(2):
                assert evaluate_run(site, "run-1", synthetic, tmp_path / "out").folder == tmp_path / "out"
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.json", "report.html"}
        assert not (site.state / "evaluations").exists()


class TestRefusals:
    def test_names_a_run_that_was_never_approved(self, site: Site, synthetic: Path) -> None:
        refused = fedsynth("site", "evaluate", "run-7", synthetic, "--site", site.state)
        assert refused.exit_code == 2
        assert "run 'run-7' was never approved at this site" in output_of(refused)

    def test_names_a_run_that_has_released_nothing(self, site: Site, synthetic: Path) -> None:
        approve(site)
        with pytest.raises(SiteError, match="has released nothing here"):
            evaluate_run(site, "run-1", synthetic)

    def test_names_the_column_that_differs(self, site: Site, synthetic: Path) -> None:
        released(site)
        table = pd.read_csv(synthetic, dtype=str)
        table.drop(columns="age").to_csv(synthetic, index=False)
        refused = fedsynth("site", "evaluate", "run-1", synthetic, "--site", site.state)
        assert refused.exit_code == 5
        assert "lacks column 'age'" in output_of(refused)
        table.assign(name="x").to_csv(synthetic, index=False)
        with pytest.raises(DataError, match="has a column 'name'"):
            evaluate_run(site, "run-1", synthetic)

    def test_says_that_another_table_was_imported(self, site: Site, synthetic: Path) -> None:
        released(site)
        import_table(site, is_replacing=True)
        with pytest.raises(SiteError, match="answered from another table"):
            evaluate_run(site, "run-1", synthetic)

    def test_says_that_the_study_held_out_no_patient(self, site: Site, synthetic: Path) -> None:
        released(site, STUDY.amended(evaluation={"holdout_fraction": 0.0}))
        with pytest.raises(SiteError, match="trained on every row"):
            evaluate_run(site, "run-1", synthetic)

    def test_says_that_chance_held_out_no_patient(self, site: Site, synthetic: Path) -> None:
        released(site, STUDY.amended(evaluation={"holdout_fraction": 1e-9}))
        with pytest.raises(SiteError, match="none held out, at"):
            evaluate_run(site, "run-1", synthetic)

    def test_refuses_a_state_that_others_can_read(self, site: Site, synthetic: Path) -> None:
        released(site)
        site.ledger.chmod(0o640)
        with pytest.raises(SiteError, match="chmod go-rwx"):
            evaluate_run(read_site(site.state), "run-1", synthetic)
