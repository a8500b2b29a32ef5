"""Image files at two sites, over real processes: imported, approved, counted, and drawn by the coordinator."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest

from common.images.cells import pixels_of
from common.images.png import pixels_of_png, png_of
from common.study.sections import HospitalFacts
from simulations.federation.federate import federate, simulated_run
from simulations.federation.prepare import Prepared
from simulations.federation.sites import open_hospitals, open_shards
from simulations.rehearsal.deployment import Deployment
from tests.testbeds.deployment import charges, results
from tests.testbeds.images import SIZE, images_study, images_table

FACTS = tuple(HospitalFacts(name=name, declared_rows=100) for name in ("north", "south"))
NAMES = tuple(facts.name for facts in FACTS)


def written(folder: Path, raw: pd.DataFrame) -> pd.DataFrame:
    """Write the images of a raw table as PNG files into a folder, and return the table with their names."""
    folder.mkdir(parents=True)
    names = [f"{row}.png" for row in range(len(raw))]
    for name, cell in zip(names, raw["film"], strict=True):
        (folder / name).write_bytes(png_of(pixels_of(cell, SIZE)[0]))
    return raw.assign(film=names)


@pytest.mark.slow
def test_sites_import_files_and_the_run_has_images(tmp_path: Path) -> None:
    tables = {name: images_table(100, seed) for seed, name in enumerate(NAMES)}
    with Deployment(tmp_path / "d") as deployment:
        deployment.path.mkdir()
        study = images_study(
            study={"rehearsal": True},
            synthesizer={"chains": 128, "fit_steps": 20},
            federation={"coordinator": deployment.make_keys()},
            privacy={"noise": "local"},
        ).with_hospitals(FACTS)
        paths = {}
        for name, raw in tables.items():
            folder = tmp_path / "films" / name
            paths[name] = written(folder, raw)
            deployment.declared[name] = f'[images.film]\nfolder = "{folder}"\nsize = [{SIZE[0]}, {SIZE[1]}]\n'
        deployment.start_coordinator()
        deployment.start_sites(paths, study)
        study = deployment.identified(study)
        run_id = deployment.propose(study)
        deployment.run(run_id)
        folder = deployment.run_folder(run_id)
        table = pd.read_csv(folder / "synthetic.csv", dtype=str)
        images = {path: (folder / path).read_bytes() for path in table["film"]}
        charged = charges(deployment, run_id, NAMES)
    assert {image.shape for content in images.values() if (image := pixels_of_png(content)) is not None} == {SIZE}
    assert len(images) == len(table) == len(list((folder / "images").iterdir()))
    assert charged == dict.fromkeys(NAMES, charged["north"])
    local = tmp_path / "local"
    with ExitStack() as stack:
        hospitals = open_hospitals(study, open_shards(Prepared(study, tables, None, ())), local / "sites", stack)
        federate(simulated_run(study, local, local / "sites"), hospitals, workers=1)
    assert results(folder) == results(local)
    assert images == {path: (local / path).read_bytes() for path in images}
