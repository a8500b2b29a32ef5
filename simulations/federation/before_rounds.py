"""The table that a finished run gives without its training rounds, from the same counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from common.arrays import Weights
from common.model import Model, release_seed
from common.planning.phases import PublicRun, measurements_of
from common.planning.plan import CLASSES
from common.seeds import seed_for
from common.synthesizers.registry import make_synthesizer
from common.synthesizers.schedule import FIT
from common.system.folder import RunFolder
from common.tables.conforming import conform, format_table
from server.run.checkpoints import FOLDER


def table_before_rounds(model: Model, out: Path, rows: int) -> pd.DataFrame | None:
    """Return the table that the run's generator gives before its training rounds; None for a run that had none.

    Args:
        model: the model that the run released.
        out: folder of a finished simulation.
        rows: number of rows of the table, of patients where rows are visits.
    """
    fitted = RunFolder(out).read_arrays(f"{FOLDER}/{FIT}.safetensors") if model.plan.rounds else None
    if model.plan.vector(CLASSES) is not None:
        fitted = {**weights_without_classes(model)}
    if fitted is None:
        return None
    table = replace(model, weights=fitted).sample(rows, release_seed(model.study))
    return conform(format_table(table, model.study.table), model.study.table)


def weights_without_classes(model: Model) -> Weights:
    """Return the weights that a VAE's fit gives to the counts without latent classes: post-processing, without cost."""
    public, study = PublicRun(model.study, model.plan, model.released), model.study
    measurements = measurements_of(public)
    assert measurements is not None, "a VAE is fitted to marginals"
    synthesizer = make_synthesizer(study.synthesizer, public.encoder)
    return synthesizer.fit({}, replace(measurements, classes=None), seed_for(study.seed, "fit"), rounds=0)
