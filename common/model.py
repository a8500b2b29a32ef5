"""The saved model: the folder that a run writes, its card, and rows drawn from it. All of it is post-processing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file

from common.arrays import Weights
from common.columns.base import Column
from common.encoding import Encoder
from common.errors import StudyError, WireError, cause_of
from common.marginals.released import ReleasedMarginals
from common.planning.phases import PHASES, PublicRun, read_public
from common.planning.plan import Plan
from common.seeds import seed_for
from common.study.courses import HistoryRules
from common.study.rules import REDRAWS, broken, repair
from common.study.study import Study, read_study
from common.synthesizers.base import OrderingSynthesizer
from common.synthesizers.registry import make_synthesizer
from common.system.folder import RunFolder

UNFIT = (LookupError, TypeError, ValueError, RuntimeError)
"""What drawing raises where weights, plan and counts do not fit each other."""

MODEL = "model"
"""Name of the model folder in a run's folder."""

WEIGHTS, RELEASED = "weights.safetensors", "released.safetensors"
STUDY, PLAN, CARD = "study.toml", "plan.json", "README.md"
"""Files of a model folder."""


def release_seed(study: Study) -> int:
    """Return the seed of the rows that a run releases."""
    return seed_for(study.seed, "release")


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A trained synthesizer with all that is needed to use it.

    Args:
        study: study that the hospitals agreed on.
        plan: plan of the run.
        released: noisy counts, which define the codes of numeric columns.
        weights: weights of the synthesizer, by name.
    """

    study: Study
    plan: Plan
    released: ReleasedMarginals
    weights: Weights

    def sample(self, rows: int, seed: int, *, given: Mapping[str, str] = MappingProxyType({})) -> pd.DataFrame:
        """Draw a synthetic table.

        Rows that break a declared rule are drawn again, and corrected if that does not help.

        Args:
            rows: number of rows.
            seed: the same seed gives the same table.
            given: categorical column to category; every row has these categories exactly.

        Returns:
            A conformed table, its columns in schema order.

        Raises:
            StudyError: there is no such column or category, or the model gives the condition no weight.
        """
        frame = self._draw(rows, seed, given)
        if self.study.has_visits:
            redraw = lambda patients, attempt: self._draw(patients, seed_for(seed, "redraw", attempt), given)  # noqa: E731
            return HistoryRules.of(self.study).met(frame, redraw, REDRAWS)
        for attempt in range(REDRAWS):
            rows_broken = np.flatnonzero(broken(frame, self.study.rules))
            if not len(rows_broken):
                return frame
            fresh = self._draw(len(rows_broken), seed_for(seed, "redraw", attempt), given)
            frame.iloc[rows_broken] = fresh.to_numpy()
            frame = frame.astype(fresh.dtypes.to_dict())
        return repair(frame, self.study.rules, self.study.table)

    def rule_violations(self, rows: int, seed: int) -> dict[str, float]:
        """Return the proportion of drawn rows that break each rule, before they are drawn again or corrected.

        Of a study of visits, it is the proportion of patients.
        """
        if not self.study.rules and not self.study.courses:
            return {}
        frame = self._draw(rows, seed, {})
        if self.study.has_visits:
            return HistoryRules.of(self.study).violations(frame)
        return {str(rule): round(float(rule.broken(frame).mean()), 4) for rule in self.study.rules}

    def _draw(self, rows: int, seed: int, given: Mapping[str, str]) -> pd.DataFrame:
        """Return rows as the generator draws them, before rules are applied."""
        encoder = PublicRun(self.study, self.plan, self.released).encoder
        codes = dict(self._code(encoder, name, category) for name, category in given.items())
        synthesizer = make_synthesizer(self.study.synthesizer, encoder)
        drawn = synthesizer.sample(self.weights, rows, seed_for(seed, "codes"), codes)
        order = None
        if isinstance(synthesizer, OrderingSynthesizer):
            order = synthesizer.order_within(self.weights, drawn, seed_for(seed, "order-within"))
        return encoder.decode(drawn, np.random.default_rng(seed_for(seed, "values")), order)

    def sample_balanced(self, rows: int, seed: int, column: str, *, given: Mapping[str, str]) -> pd.DataFrame:
        """Draw a table with equally many rows of each category of a column, to within one, in random order.

        Args:
            rows: number of rows.
            seed: the same seed gives the same table.
            column: a categorical column.
            given: codes that other columns must have, as in `sample`.

        Returns:
            A table with the columns of the schema.

        Raises:
            StudyError: as `sample` does, or the column is in `given` too.
        """
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

    def _code(self, encoder: Encoder, name: str, category: str) -> tuple[int, int]:
        column = self._categorical(name)
        if category not in column.labels:
            known = ", ".join(column.labels[:20])
            raise StudyError(f"column '{name}' has no such category; choose one of {known}")
        code = encoder.code_of(name, category)
        if code is None:
            raise StudyError(f"column '{name}': this code was too rare and is part of a prefix; condition on a prefix")
        return self.study.table.names.index(name), code

    def default_rows(self) -> int:
        """Return the number of rows that were declared for training, a public figure."""
        return self.study.pooled_rows


def save_model(model: Model, run_folder: RunFolder, *, is_simulation: bool) -> None:
    """Write `model/` in a run's folder: weights and noisy counts as safetensors, the rest as text.

    It holds no records and no pickle, which would run code when it is loaded.

    Args:
        model: the trained model.
        run_folder: folder of the run.
        is_simulation: whether the hospitals are simulated; the model card says so.
    """
    run_folder.write_arrays(f"{MODEL}/{WEIGHTS}", model.weights)
    run_folder.write_arrays(f"{MODEL}/{RELEASED}", model.released.arrays())
    run_folder.write(f"{MODEL}/{STUDY}", model.study.to_toml())
    run_folder.write(f"{MODEL}/{PLAN}", json.dumps(json.loads(model.plan.to_json()), indent=2) + "\n")
    run_folder.write(f"{MODEL}/{CARD}", model_card(model.study, is_simulation=is_simulation))


def load_public(path: Path) -> PublicRun:
    """Return what a model folder, or the folder of the run that holds it, says of the run: study, plan, noisy sums.

    Raises:
        StudyError: it is another folder, a file is missing or damaged, or they do not belong together.
    """
    inner = path / MODEL
    folder = inner if not (path / STUDY).exists() and (inner / STUDY).exists() else path
    if not (folder / STUDY).exists():
        raise StudyError(f"'{path}' is not the folder of a run; name the folder that holds {MODEL}/")
    study = read_study(folder / STUDY)
    with _complete(folder):
        return _public(folder, study)


def load_model(path: Path) -> Model:
    """Return the model in a folder that `save_model` wrote. A row is drawn to see that its files fit each other.

    Raises:
        StudyError: it is another folder, a file is missing or damaged, or they do not belong together.
    """
    if not (path / STUDY).exists():
        inner = path / MODEL
        remedy = f"did you mean '{inner}'?" if (inner / STUDY).exists() else "point to the model/ of a run"
        raise StudyError(f"'{path}' is not a model folder; {remedy}")
    study = read_study(path / STUDY)
    with _complete(path):
        public = _public(path, study)
        model = Model(study, public.plan, public.released, load_file(path / WEIGHTS))
        if not all(np.isfinite(value).all() for value in model.weights.values()):
            raise WireError("there are weights that are not finite")
        model._draw(1, 0, {})
        return model


def _public(folder: Path, study: Study) -> PublicRun:
    plan = Plan.from_json((folder / PLAN).read_text(encoding="utf-8"))
    if plan.fingerprint != study.fingerprint:
        raise WireError("the plan is that of another study")
    return read_public(study, plan, load_file(folder / RELEASED), PHASES)


@contextmanager
def _complete(folder: Path) -> Iterator[None]:
    """Turn what a missing or damaged file of a model folder raises into a `StudyError` that names the folder."""
    try:
        yield
    except (OSError, SafetensorError, WireError, *UNFIT) as problem:
        cause = cause_of(problem)
        remedy = f"point to the {MODEL}/ of a run"
        raise StudyError(f"'{folder}' is not a complete model folder ({cause}); {remedy}") from None


def warnings_of(study: Study, *, is_simulation: bool) -> list[str]:
    """Return the warnings that the model card, run.json and the report must carry."""
    warnings = []
    if is_simulation:
        warnings.append(
            "SIMULATION: the noise is seeded and therefore predictable. It protects no patient; share these files only "
            "if the records themselves may be shared."
        )
    elif study.about.rehearsal:
        warnings.append(
            "REHEARSAL: sites may use seeded and therefore predictable noise. It protects no patient; share these "
            "files only if the records themselves may be shared."
        )
    if study.privacy.noise == "none":
        warnings.append("NO PRIVACY: trained without noise. Epsilon is infinite.")
    if study.about.origin == "drafted":
        warnings.append("The schema was drafted from records. What it gives away is not part of epsilon.")
    return warnings


def model_card(study: Study, *, is_simulation: bool) -> str:
    """Return the page of Markdown that is saved with the weights."""
    lines = [
        f"# Model of study {study.name}",
        "",
        *(f"> **{warning}**\n" for warning in warnings_of(study, is_simulation=is_simulation)),
        f"- Study fingerprint: `{study.fingerprint}`",
        f"- Guarantee: {_guarantee(study)}",
        f"- Columns: {', '.join(study.table.names)}",
        f"- Hospitals: {', '.join(hospital.name for hospital in study.hospitals)}",
        "",
        "This folder holds weights, the agreed schema and noisy counts. It holds no records. Draw rows with",
        "`fedsynth sample <this folder> --rows 1000 --out rows.csv`. Before you use them, read a simulation's report",
        "or compare them with real rows where those are kept: `fedsynth evaluate`.",
        "",
    ]
    return "\n".join(lines)


def _guarantee(study: Study) -> str:
    """Return what the privacy of this run is, in one paragraph."""
    privacy = study.privacy
    if privacy.noise == "none":
        return "None."
    sentences = [
        f"({privacy.epsilon:g}, {privacy.delta:g})-differential privacy for each {privacy.unit} of each hospital, "
        f"noise mode '{privacy.noise}'."
    ]
    if privacy.unit == "record":
        sentences.append("A patient with several records is protected less: their epsilons add up.")
    if privacy.noise == "distributed":
        sentences.append(
            f"It holds if at least {study.honest_survivors} of the hospitals in every sum kept their part of the noise "
            "secret."
        )
    own = [f"{hospital.name} {hospital.epsilon:g}" for hospital in study.hospitals if hospital.epsilon is not None]
    if own:
        sentences.append(f"Hospitals with a smaller epsilon of their own: {', '.join(own)}.")
    return " ".join(sentences)
