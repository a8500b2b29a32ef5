"""What comes out of a run: the model folder and rows drawn from it. Post-processing of releases, so free of charge."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file

from common.encoding import Encoder
from common.errors import StudyError
from common.messages import Array, Weights
from common.privacy.planner import Plan
from common.seeds import seed_for
from common.study import Study, read_study
from common.synthesizers.gan import make_synthesizer
from server.run_dir import RunDir

WEIGHTS, RELEASED = "weights.safetensors", "released.safetensors"
STUDY, PLAN, CARD = "study.toml", "plan.json", "README.md"


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A trained generator with all that is needed to use it: the study, the plan, released histograms, weights."""

    study: Study
    plan: Plan
    histograms: Array
    weights: Weights

    def sample(self, rows: int, seed: int) -> pd.DataFrame:
        """A conformed synthetic table of `rows` rows in schema order; the same seed gives the same table."""
        bins = self.study.synthesizer.bins
        encoder = Encoder(self.study.table, self.histograms, cells=self.plan.cells, bins=bins)
        codes = make_synthesizer(self.study.synthesizer, encoder).sample(self.weights, rows, seed_for(seed, "codes"))
        return encoder.decode(codes, np.random.default_rng(seed_for(seed, "values")))

    def default_rows(self) -> int:
        """As many rows as were declared for training: a public figure."""
        return sum(self.study.training_rows(hospital) for hospital in self.study.hospitals)


def save_model(model: Model, run_dir: RunDir, *, is_simulation: bool) -> None:
    """Write `model/`: weights and released statistics as safetensors, the rest as text. No rows, no pickle."""
    run_dir.write_arrays(f"model/{WEIGHTS}", model.weights)
    run_dir.write_arrays(f"model/{RELEASED}", {"histograms": model.histograms})
    run_dir.write(f"model/{STUDY}", model.study.to_toml())
    run_dir.write(f"model/{PLAN}", json.dumps(json.loads(model.plan.to_json()), indent=2) + "\n")
    run_dir.write(f"model/{CARD}", model_card(model.study, is_simulation=is_simulation))


def load_model(path: Path) -> Model:
    """The model in a folder that `save_model` wrote.

    Raises:
        StudyError: a file is missing or damaged.
    """
    study = read_study(path / STUDY)
    try:
        plan = Plan.from_json((path / PLAN).read_text(encoding="utf-8"))
        return Model(study, plan, load_file(path / RELEASED)["histograms"], load_file(path / WEIGHTS))
    except (OSError, SafetensorError, KeyError) as problem:
        cause = type(problem).__name__
        raise StudyError(f"'{path}' is not a complete model folder ({cause}); point to the model/ of a run") from None


def warnings_of(study: Study, *, is_simulation: bool) -> list[str]:
    """The sentences that every artefact of this run must carry."""
    warnings = []
    if is_simulation:
        warnings.append(
            "SIMULATION: the noise is seeded and therefore predictable. It protects nobody; share these files only "
            "if the records themselves may be shared."
        )
    if study.privacy.noise == "none":
        warnings.append("NO PRIVACY: trained without noise. Epsilon is infinite.")
    if study.about.origin == "drafted":
        warnings.append("The schema was drafted from records. What it gives away is not part of epsilon.")
    return warnings


def model_card(study: Study, *, is_simulation: bool) -> str:
    """A page of Markdown that travels with the weights."""
    privacy = study.privacy
    promise = (
        "None."
        if privacy.noise == "none"
        else f"({privacy.epsilon:g}, {privacy.delta:g})-differential privacy for each patient of each hospital, "
        f"noise added by: {privacy.noise}."
    )
    lines = [
        f"# Model of study {study.name}",
        "",
        *(f"> **{warning}**\n" for warning in warnings_of(study, is_simulation=is_simulation)),
        f"- Study fingerprint: `{study.fingerprint}`",
        f"- Guarantee: {promise}",
        f"- Columns: {', '.join(study.table.names)}",
        f"- Hospitals: {', '.join(hospital.name for hospital in study.hospitals)}",
        "",
        "The folder holds weights, the agreed schema and released noisy histograms; no record. Draw rows with",
        "`fedsynth sample <this folder> --rows 1000 --out rows.csv`. Read the run's report before using them.",
        "",
    ]
    return "\n".join(lines)
