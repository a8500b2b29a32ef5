"""Compare a federation's films with those of one hospital: `python -m simulations.experiments.image_federation`.

Both have all 4,708 films and the same epsilon. Four hospitals share their noise; one has it to itself. For each seed it
prints AUROC on other films of a logistic regression trained on synthetic ones, and at the end the ratio of the means.
FEDSYNTH_DATA names the folder of the films.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from common.evaluation.images.evidence import LabeledImages
from common.model import MODEL, load_model, release_seed
from common.release import draw_images
from common.study.study import Study
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from simulations.image_studies.studies import CHEST_FILMS, chest_films, film_tables, image_study


def released(study: Study, tables: dict[str, pd.DataFrame]) -> LabeledImages:
    """Return the synthetic films of a simulated run in these hospitals."""
    with TemporaryDirectory() as folder:
        simulate(prepare(study, tables), Path(folder) / "run", Options(with_report=False))
        model = load_model(Path(folder) / "run" / MODEL)
    frame = model.sample(model.default_rows(), release_seed(model.study))
    drawn = draw_images(model, frame, release_seed(model.study))
    assert drawn is not None, "a study of images"
    return LabeledImages(drawn.pixels, np.where(frame[study.evaluation.target] == "yes", 1, 0))


def auroc(synthetic: LabeledImages, test: LabeledImages) -> float:
    """Return AUROC on the test films of a logistic regression that was trained on synthetic ones."""
    logistic = LogisticRegression(max_iter=300).fit(synthetic.values, synthetic.labels)
    return float(roc_auc_score(test.labels, logistic.predict_proba(test.values)[:, 1]))


def main() -> None:
    """Print one line for each seed, then the means and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epsilon", type=float, default=3.0)
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    hospitals, test = film_tables(), LabeledImages(*chest_films("test"))
    arms = {
        "federated": (hospitals, "distributed"),
        "central": ({"all": pd.concat(hospitals.values(), ignore_index=True)}, "local"),
    }
    found: dict[str, list[float]] = {arm: [] for arm in arms}
    for seed in options.seed:
        for arm, (tables, noise) in arms.items():
            study = image_study(CHEST_FILMS).amended(
                study={"seed": seed},
                privacy={"epsilon": options.epsilon, "noise": noise},
                evaluation={"holdout_fraction": 0.0},
                **({"federation": {"min_hospitals": 1}} if len(tables) == 1 else {}),
            )
            found[arm].append(auroc(released(study, tables), test))
            sys.stdout.write(f"seed {seed} {arm:10} AUROC {found[arm][-1]:.4f}\n")
            sys.stdout.flush()
    means = {arm: float(np.mean(values)) for arm, values in found.items()}
    ratio = means["federated"] / means["central"]
    sys.stdout.write(f"mean federated {means['federated']:.4f} central {means['central']:.4f} ratio {ratio:.4f}\n")


if __name__ == "__main__":
    main()
