"""Measure images that a federation of four hospitals releases: `python -m simulations.experiments.image_trial`.

Whole simulated runs with shared noise, trained on all patients; the test images are others. For each study, epsilon and
seed it prints AUROC (accuracy for the digits) of a logistic regression and of a small convolutional network that are
trained on synthetic images, the Frechet distance between synthetic and training images in 64 features of a network that
was trained on real ones (for real images, that of the test images), and the processor seconds of the run. FEDSYNTH_DATA
names the folder of the chest films.
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
from common.model import MODEL, load_model, release_seed
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


def measured(synthetic: LabeledImages, real: LabeledImages, test: LabeledImages, classes: int) -> list[float]:
    """Return scores of logistic regression and network, and the Frechet distance."""
    logistic = LogisticRegression(max_iter=300).fit(synthetic.values, synthetic.labels)
    logits = np.log(logistic.predict_proba(test.values) + 1e-12)
    convolutional = score(outputs(trained(synthetic, classes, 0), test), test.labels)
    features = trained(real, classes, 7)[:-1]
    distance = frechet_distance(outputs(features, synthetic), outputs(features, real))
    return [score(logits, test.labels), convolutional, distance]


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


def released(name: str, tables: dict[str, pd.DataFrame], epsilon: float, seed: int) -> tuple[LabeledImages, float]:
    """Return the images that a simulated run releases, and its processor seconds.

    Args:
        name: of the built-in study.
        tables: of its hospitals; nobody is held out.
        epsilon: of every hospital.
        seed: of the study, and of the noise.
    """
    started = time.process_time()
    study = image_study(name).amended(
        study={"seed": seed}, privacy={"epsilon": epsilon}, evaluation={"holdout_fraction": 0.0}
    )
    with TemporaryDirectory() as folder:
        simulate(prepare(study, tables), Path(folder) / "run", Options(with_report=False))
        model = load_model(Path(folder) / "run" / MODEL)
    frame = model.sample(model.default_rows(), release_seed(model.study))
    drawn = draw_images(model, frame, release_seed(model.study))
    assert drawn is not None, "a study of images"
    target = study.table[study.evaluation.target]
    labels = np.array([target.labels.index(label) for label in frame[target.name]])
    return LabeledImages(drawn.pixels, labels), time.process_time() - started


def main() -> None:
    """Print one line for each study, epsilon and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", choices=[DIGITS, CHEST_FILMS], default=CHEST_FILMS)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[3.0, 1.0])
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    study = image_study(options.study)
    target, column = study.table[study.evaluation.target], study.images[0]
    columns = (target.name, column.name)
    if options.study == CHEST_FILMS:
        tables, test = film_tables(), LabeledImages(*chest_films("test"))
    else:  # the last fifth of every hospital is the test set
        tables = digit_tables()
        cut = {name: 4 * len(table) // 5 for name, table in tables.items()}
        test = images_of([table[cut[name] :] for name, table in tables.items()], columns, target.labels)
        tables = {name: table[: cut[name]].reset_index(drop=True) for name, table in tables.items()}
    real = images_of(list(tables.values()), columns, target.labels)
    sys.stdout.write("study        epsilon seed  logistic  network  Frechet  seconds\n")
    classes = len(target.labels)
    distance = measured(test, real, test, classes)[2]
    sys.stdout.write(
        f"{options.study:12} real       -  {_line([*measured(real, real, test, classes)[:2], distance], 0)}\n"
    )
    for epsilon in options.epsilon:
        for seed in options.seed:
            synthetic, seconds = released(options.study, tables, epsilon, seed)
            values = measured(synthetic, real, test, classes)
            sys.stdout.write(f"{options.study:12} {epsilon:7g} {seed:4}  {_line(values, seconds)}\n")
            sys.stdout.flush()


def _line(values: Sequence[float], seconds: float) -> str:
    return f"{values[0]:8.3f}  {values[1]:7.3f}  {values[2]:7.2f}  {seconds:7.1f}"


if __name__ == "__main__":
    main()
