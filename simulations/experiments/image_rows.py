"""Measure whether image and row belong together: `python -m simulations.experiments.image_rows`.

Four hospitals with 500 invented patients each, whose class, age and severity drive both the row and the image
(`simulations.image_studies.severity`). For one and for three scores in the row it prints the correlation of brightness
and slopes of the images with the numbers of their rows, for real and for synthetic patients, and the largest
difference among the numbers of the rows themselves: what more columns cost.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch

from common.arrays import Floats
from common.images.cells import pixels_of
from common.model import MODEL, load_model, release_seed
from common.release import draw_images
from common.study.study import Study
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from simulations.image_studies.severity import SIZE, image_correlations, severity_study, severity_tables
from simulations.image_studies.studies import Tables

NUMBERS = ("age", "severity", "lab")
LEADING = ("brightness", "left to right", "above to below")


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """How images and rows belong together.

    Attributes:
        images: correlations of leading scores with class, age, severity and lab, (3, 4).
        rows: correlations among class, age, severity and lab, (4, 4).
    """

    images: Floats
    rows: Floats


def real(tables: Tables) -> Together:
    """Return the correlations of the hospitals' patients."""
    raw = pd.concat(tables.values())
    return _together(np.stack([pixels_of(cell, SIZE)[0] for cell in raw["film"]]), raw)


def synthetic(study: Study, tables: Tables) -> Together:
    """Return the correlations of the patients that a simulated run draws."""
    with TemporaryDirectory() as folder:
        simulate(prepare(study, tables), Path(folder) / "run", Options(with_report=False))
        model = load_model(Path(folder) / "run" / MODEL)
    frame = model.sample(model.default_rows(), release_seed(study))
    drawn = draw_images(model, frame, release_seed(study))
    assert drawn is not None, "a study of images"
    return _together(drawn.pixels, frame)


def _together(pixels: np.ndarray[tuple[int, int, int], np.dtype[np.uint8]], table: pd.DataFrame) -> Together:
    rows = np.column_stack([table["ill"] == "yes", *(table[name].astype(float) for name in NUMBERS)]).astype(np.float64)
    return Together(image_correlations(pixels, rows), np.asarray(np.corrcoef(rows.T)))


def main() -> None:
    """Print the correlations of real patients, then those of synthetic ones for each number of scores and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epsilon", type=float, default=3.0)
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--scores", type=int, nargs="+", default=[1, 3])
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed in options.seed:
        tables = severity_tables(seed=seed)
        expected = real(tables)
        _print(f"seed {seed} real", expected, expected)
        for scores in options.scores:
            study = severity_study(seed=seed, epsilon=options.epsilon, scores=scores)
            _print(f"seed {seed} scores {scores}", synthetic(study, tables), expected)


def _print(title: str, found: Together, expected: Together) -> None:
    rows = np.abs(found.rows - expected.rows).max()
    sys.stdout.write(f"{title}: largest difference within rows {rows:.3f}\n{'':16}ill    age    severity  lab\n")
    for name, line in zip(LEADING, found.images, strict=True):
        sys.stdout.write(f"{name:14}" + "".join(f"{value:8.3f}" for value in line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
