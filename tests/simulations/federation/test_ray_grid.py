from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from common.errors import StudyError
from common.planning.planner import make_plan
from common.protocol.messages import CountsReply, CountsRequest, EnrollRequest
from simulations.federation.prepare import prepare
from simulations.federation.ray_grid import HospitalFiles, open_virtual_hospital
from simulations.federation.run import Engine, Options, simulate
from tests.testbeds.clinic import clinic_study, clinic_tables

has_ray = importlib.util.find_spec("ray") is not None


@pytest.mark.skipif(has_ray, reason="Ray is installed")
def test_without_ray_the_engine_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"pip install 'fedsynth\[simulation\]'"):
        simulate(prepare(clinic_study(), clinic_tables()), tmp_path / "out", Options(engine="ray"))


def test_a_virtual_hospital_lives_in_its_files(tmp_path: Path) -> None:
    prepared = prepare(clinic_study(), clinic_tables())
    study, plan = prepared.study, make_plan(prepared.study)
    for name, raw in prepared.tables.items():
        raw.to_parquet(tmp_path / f"{name}.parquet", index=False)
    files = HospitalFiles(study.to_toml(), tmp_path, tmp_path / "sites", None, 10.0)
    (tmp_path / "sites" / "north").mkdir(parents=True)
    asked = EnrollRequest("run-1", study.to_toml(), study.fingerprint, plan.to_json(), "{}")
    with open_virtual_hospital(files, study, "north") as north:
        north.handle(asked)
    replies = []
    for _ in range(2):
        with open_virtual_hospital(files, study, "north") as north:
            replies.append(north.handle(CountsRequest("run-1", "histograms")))
            assert len(north.ledger.events()) == 1  # the second time it is the stored reply
    first, second = replies
    assert isinstance(first, CountsReply)
    assert isinstance(second, CountsReply)
    assert first.counts.tolist() == second.counts.tolist()


def test_masked_sums_are_refused_as_no_process_keeps_their_keys(tmp_path: Path) -> None:
    prepared = prepare(clinic_study(privacy={"noise": "distributed"}), clinic_tables())
    with pytest.raises(StudyError, match="use --noise local or --engine local"):
        simulate(prepared, tmp_path / "out", Options(engine="ray"))


@pytest.mark.slow
@pytest.mark.skipif(not has_ray, reason="Ray is not installed")
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_ray_gives_the_same_bytes_as_the_local_grid(tmp_path: Path) -> None:
    prepared = prepare(clinic_study(), clinic_tables())
    engines: tuple[Engine, ...] = ("local", "ray")
    spent = [simulate(prepared, tmp_path / engine, Options(engine=engine)).run["hospitals"] for engine in engines]
    assert spent[0] == spent[1]
    for file in ("synthetic.csv", "model/weights.safetensors", "model/released.safetensors"):
        assert (tmp_path / "local" / file).read_bytes() == (tmp_path / "ray" / file).read_bytes(), file
