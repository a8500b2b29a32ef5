"""Measure images that a federation of four hospitals releases: `python -m simulations.experiments.image_trial`.

Whole simulated runs with shared noise, trained on all patients; the test images are others. With `--central` one
hospital has all images and adds noise of its own: the difference is what the federation costs. For each study, epsilon
and seed it prints AUROC (accuracy for the digits) of a logistic regression and of a small convolutional network that
are trained on synthetic images, the Frechet distance between synthetic and training images in 64 features of a network
that was trained on real ones (for real images, that of the test images), and the processor seconds of the run.
FEDSYNTH_DATA names the folder of the chest films.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from common.arrays import Floats, Integers
from common.evaluation.images.frechet import frechet_distance
from common.evaluation.statistics.images import LabeledImages
from common.images.cells import pixels_of
from common.model import MODEL, Model, load_model, release_seed
from common.release import draw_images
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from simulations.image_studies.studies import CHEST_FILMS, DIGITS, chest_films, digit_tables, film_tables, image_study

EPOCHS, BATCH, FEATURES = 4, 64, 64
"""How the networks are trained, and how many features the distance is measured in."""


def network(size: tuple[int, int], classes: int) -> nn.Sequential:
    """Return an untrained network: two convolutions, then `FEATURES` features, then classes."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * (size[0] // 4) * (size[1] // 4), FEATURES), nn.ReLU(),
        nn.Linear(FEATURES, classes),
    )  # fmt: skip


def planes(images: LabeledImages) -> Tensor:
    """Return pixels from 0 to 1 as a network takes them, (images, 1, rows, columns)."""
    return torch.tensor(images.values, dtype=torch.float32).reshape(len(images.labels), 1, *images.pixels.shape[1:])


def trained(images: LabeledImages, classes: int, seed: int) -> nn.Sequential:
    """Return a network trained on these images.

    Args:
        images: the images and their classes.
        classes: number of classes.
        seed: of the initial weights and of the batches.
    """
    torch.manual_seed(seed)
    model = network((images.pixels.shape[1], images.pixels.shape[2]), classes)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    values, labels = planes(images), torch.tensor(images.labels)
    for _ in range(EPOCHS * max(1, 4000 // len(labels))):
        for rows in torch.split(torch.randperm(len(labels)), BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(values[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return model.eval()


def outputs(model: nn.Module, images: LabeledImages) -> Floats:
    """Return what a network gives for every image."""
    with torch.no_grad():
        return np.asarray(model(planes(images)).double().numpy())


def score(logits: Floats, labels: Integers) -> float:
    """Return the AUROC of two classes, the accuracy of more."""
    if logits.shape[1] == 2:
        return float(roc_auc_score(labels, logits[:, 1] - logits[:, 0]))
    return float((logits.argmax(axis=1) == labels).mean())


class ImageMeasures:
    """Measures images against real ones.

    Args:
        real: the images that synthetic ones stand for.
        test: other real images, on which classifiers are tested.
    """

    def __init__(self, real: LabeledImages, test: LabeledImages) -> None:
        self._test, self._classes = test, int(real.labels.max()) + 1
        self._network = trained(real, self._classes, 7)[:-1]
        self._real = outputs(self._network, real)

    def distance(self, images: LabeledImages) -> float:
        """Return the Frechet distance to the real images."""
        return frechet_distance(outputs(self._network, images), self._real)

    def measured(self, images: LabeledImages) -> list[float]:
        """Return scores of logistic regression and network that are trained on these images, and their distance."""
        logistic = LogisticRegression(max_iter=300).fit(images.values, images.labels)
        logits = np.log(logistic.predict_proba(self._test.values) + 1e-12)
        convolutional = score(outputs(trained(images, self._classes, 0), self._test), self._test.labels)
        return [score(logits, self._test.labels), convolutional, self.distance(images)]


def images_of(tables: Sequence[pd.DataFrame], columns: tuple[str, str], labels: Sequence[str]) -> LabeledImages:
    """Return the images of raw tables.

    Args:
        tables: with pixels in their cells.
        columns: the columns of classes and of images.
        labels: the classes in order.
    """
    table = pd.concat(tables)
    first = table[columns[1]].iloc[0].split(":")[0].split("x")
    size = (int(first[0]), int(first[1]))
    pixels = np.stack([pixels_of(cell, size)[0] for cell in table[columns[1]]])
    return LabeledImages(pixels, np.array([list(labels).index(label) for label in table[columns[0]]]))


def trained_run(name: str, tables: dict[str, pd.DataFrame], epsilon: float, seed: int) -> Model:
    """Return the model of a simulated run.

    Args:
        name: of the built-in study.
        tables: tables of its hospitals; no patient is held out. One hospital alone adds its own noise.
        epsilon: of every hospital.
        seed: of the study, and of the noise.
    """
    privacy = {"epsilon": epsilon, "noise": "distributed" if len(tables) > 1 else "local"}
    study = image_study(name).amended(study={"seed": seed}, privacy=privacy, evaluation={"holdout_fraction": 0.0})
    with TemporaryDirectory() as folder:
        simulate(prepare(study, tables), Path(folder) / "run", Options(with_report=False))
        return load_model(Path(folder) / "run" / MODEL)


def drawn(model: Model) -> LabeledImages:
    """Return the images that a run releases, one for each row of its table."""
    frame = model.sample(model.default_rows(), release_seed(model.study))
    images = draw_images(model, frame, release_seed(model.study))
    assert images is not None, "a study of images"
    target = model.study.table[model.study.evaluation.target]
    return LabeledImages(images.pixels, np.array([target.labels.index(label) for label in frame[target.name]]))


def image_tables_of(name: str) -> tuple[dict[str, pd.DataFrame], LabeledImages, LabeledImages]:
    """Return the hospitals' tables, all their images, and other images to test on.

    Args:
        name: of the built-in study.
    """
    study = image_study(name)
    target = study.table[study.evaluation.target]
    columns = (target.name, study.images[0].name)
    if name == CHEST_FILMS:
        tables, test = film_tables(), LabeledImages(*chest_films("test"))
    else:  # the last fifth of every hospital is the test set
        tables = digit_tables()
        cut = {name: 4 * len(table) // 5 for name, table in tables.items()}
        test = images_of([table[cut[name] :] for name, table in tables.items()], columns, target.labels)
        tables = {name: table[: cut[name]].reset_index(drop=True) for name, table in tables.items()}
    return tables, images_of(list(tables.values()), columns, target.labels), test


def main() -> None:
    """Print one line for each study, epsilon and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", choices=[DIGITS, CHEST_FILMS], default=CHEST_FILMS)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[3.0, 1.0])
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--central", action="store_true", help="one hospital has all images")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tables, real, test = image_tables_of(options.study)
    if options.central:
        tables = {"all": pd.concat(tables.values(), ignore_index=True)}
    measures = ImageMeasures(real, test)
    sys.stdout.write("study        epsilon seed  logistic  network  Frechet  seconds\n")
    values = [*measures.measured(real)[:2], measures.distance(test)]
    sys.stdout.write(f"{options.study:12} real       -  {_line(values, 0)}\n")
    sys.stdout.flush()
    for epsilon in options.epsilon:
        for seed in options.seed:
            started = time.process_time()
            synthetic = drawn(trained_run(options.study, tables, epsilon, seed))
            seconds = time.process_time() - started
            values = measures.measured(synthetic)
            sys.stdout.write(f"{options.study:12} {epsilon:7g} {seed:4}  {_line(values, seconds)}\n")
            sys.stdout.flush()


def _line(values: Sequence[float], seconds: float) -> str:
    """Return three measures and processor seconds as columns."""
    return f"{values[0]:8.3f}  {values[1]:7.3f}  {values[2]:7.2f}  {seconds:7.1f}"


if __name__ == "__main__":
    main()
