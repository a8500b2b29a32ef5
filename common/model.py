"""What comes out of a run: the model folder and rows drawn from it. Post-processing of releases, so free of charge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file

from common.arrays import Weights
from common.columns.base import Column
from common.errors import StudyError
from common.marginals.released import ReleasedMarginals
from common.planning.plan import Plan
from common.seeds import seed_for
from common.study.rules import broken, mend
from common.study.study import Study, read_study
from common.synthesizers.registry import make_synthesizer
from common.system.folder import RunFolder

REDRAWS = 10
"""How often rows that break a rule are drawn anew before what is left is mended."""

WEIGHTS, RELEASED = "weights.safetensors", "released.safetensors"
STUDY, PLAN, CARD = "study.toml", "plan.json", "README.md"


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A trained generator with all that is needed to use it: the study, the plan, released counts, weights."""

    study: Study
    plan: Plan
    released: ReleasedMarginals
    weights: Weights

    def sample(self, rows: int, seed: int, *, given: Mapping[str, str] = MappingProxyType({})) -> pd.DataFrame:
        """A conformed synthetic table of `rows` rows in schema order; the same seed gives the same table.

        Rows that break a declared rule are drawn anew, and mended if that does not help.

        Args:
            given: categorical column to category, which every row then has.

        Raises:
            StudyError: no such column or category, or one that the model gives no weight.
        """
        frame = self._draw(rows, seed, given)
        for attempt in range(REDRAWS):
            rows_broken = np.flatnonzero(broken(frame, self.study.rules))
            if not len(rows_broken):
                return frame
            fresh = self._draw(len(rows_broken), seed_for(seed, "redraw", attempt), given)
            frame.iloc[rows_broken] = fresh.to_numpy()
            frame = frame.astype(fresh.dtypes.to_dict())
        return mend(frame, self.study.rules, self.study.table)

    def rule_violations(self, rows: int, seed: int) -> dict[str, float]:
        """Share of the rows drawn that break each rule before they are redrawn or mended."""
        frame = self._draw(rows, seed, {})
        return {str(rule): round(float(rule.broken(frame).mean()), 4) for rule in self.study.rules}

    def _draw(self, rows: int, seed: int, given: Mapping[str, str]) -> pd.DataFrame:
        """Rows as the generator makes them, rules not looked at."""
        encoder = self.released.encoder(self.study, self.plan)
        codes = dict(self._code(name, category) for name, category in given.items())
        synthesizer = make_synthesizer(self.study.synthesizer, encoder)
        drawn = synthesizer.sample(self.weights, rows, seed_for(seed, "codes"), codes)
        return encoder.decode(drawn, np.random.default_rng(seed_for(seed, "values")))

    def sample_balanced(self, rows: int, seed: int, column: str, *, given: Mapping[str, str]) -> pd.DataFrame:
        """As many rows of each category of a column, to within one, in random order."""
        declared = self._categorical(column)
        if column in given:
            raise StudyError(f"column '{column}' is both given and balanced; drop one of them")
        counts = np.full(len(declared.labels), rows // len(declared.labels))
        counts[: rows % len(counts)] += 1
        parts = [
            self.sample(int(count), seed_for(seed, "balance", category), given={**given, column: category})
            for category, count in zip(declared.labels, counts, strict=True)
            if count
        ]
        order = np.random.default_rng(seed_for(seed, "order")).permutation(rows)
        return pd.concat(parts, ignore_index=True).iloc[order].reset_index(drop=True)

    def _categorical(self, name: str) -> Column:
        if name not in self.study.table.names:
            raise StudyError(f"column '{name}' is not in the model; choose one of {', '.join(self.study.table.names)}")
        column = self.study.table[name]
        if not column.labels:
            raise StudyError(f"column '{name}' is numeric; conditions are exact for categorical columns only")
        return column

    def _code(self, name: str, category: str) -> tuple[int, int]:
        column = self._categorical(name)
        if category not in column.labels:
            known = ", ".join(column.labels[:20])
            raise StudyError(f"column '{name}' has no such category; choose one of {known}")
        return self.study.table.names.index(name), column.labels.index(category)

    def default_rows(self) -> int:
        """As many rows as were declared for training: a public figure."""
        return self.study.pooled_rows


def save_model(model: Model, run_folder: RunFolder, *, is_simulation: bool) -> None:
    """Write `model/`: weights and released statistics as safetensors, the rest as text. No rows, no pickle."""
    run_folder.write_arrays(f"model/{WEIGHTS}", model.weights)
    run_folder.write_arrays(f"model/{RELEASED}", model.released.arrays())
    run_folder.write(f"model/{STUDY}", model.study.to_toml())
    run_folder.write(f"model/{PLAN}", json.dumps(json.loads(model.plan.to_json()), indent=2) + "\n")
    run_folder.write(f"model/{CARD}", model_card(model.study, is_simulation=is_simulation))


def load_model(path: Path) -> Model:
    """The model in a folder that `save_model` wrote.

    Raises:
        StudyError: a file is missing or damaged.
    """
    study = read_study(path / STUDY)
    try:
        plan = Plan.from_json((path / PLAN).read_text(encoding="utf-8"))
        return Model(study, plan, ReleasedMarginals(**load_file(path / RELEASED)), load_file(path / WEIGHTS))
    except (OSError, SafetensorError, TypeError) as problem:
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
    elif study.about.rehearsal:
        warnings.append(
            "REHEARSAL: sites may use seeded and therefore predictable noise. It protects nobody; share these files "
            "only if the records themselves may be shared."
        )
    if study.privacy.noise == "none":
        warnings.append("NO PRIVACY: trained without noise. Epsilon is infinite.")
    if study.about.origin == "drafted":
        warnings.append("The schema was drafted from records. What it gives away is not part of epsilon.")
    return warnings


def model_card(study: Study, *, is_simulation: bool) -> str:
    """A page of Markdown that travels with the weights."""
    privacy, warnings = study.privacy, warnings_of(study, is_simulation=is_simulation)
    own = [f"{hospital.name} {hospital.epsilon:g}" for hospital in study.hospitals if hospital.epsilon is not None]
    promise = (
        "None."
        if privacy.noise == "none"
        else f"({privacy.epsilon:g}, {privacy.delta:g})-differential privacy for each patient of each hospital, "
        f"noise added by: {privacy.noise}."
        + (
            f" It supposes that at least {study.honest_survivors} of the hospitals in every sum kept their part of the "
            "noise to themselves."
            if privacy.noise == "distributed"
            else ""
        )
        + (f" Hospitals with a smaller epsilon of their own: {', '.join(own)}." if own else "")
    )
    lines = [
        f"# Model of study {study.name}",
        "",
        *(f"> **{warning}**\n" for warning in warnings),
        f"- Study fingerprint: `{study.fingerprint}`",
        f"- Guarantee: {promise}",
        f"- Columns: {', '.join(study.table.names)}",
        f"- Hospitals: {', '.join(hospital.name for hospital in study.hospitals)}",
        "",
        "The folder holds weights, the agreed schema and released noisy counts; no record. Draw rows with",
        "`fedsynth sample <this folder> --rows 1000 --out rows.csv`. Before using them, read a simulation's report or",
        "measure them where real rows are: `fedsynth evaluate`.",
        "",
    ]
    return "\n".join(lines)
