"""Run one synthesizer of another project in that project's own environment. This file imports nothing of fedsynth.

    python -I peer_program.py FOLDER

FOLDER contains request.json and given.csv. The program writes made.csv, or failure.json with the exception's name:
the text of an exception might quote a cell.
"""

from __future__ import annotations

import json
import random
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Request = dict[str, Any]
Program = Callable[[Request, pd.DataFrame], pd.DataFrame]


def ctgan(request: Request, given: pd.DataFrame) -> pd.DataFrame:
    """CTGAN (Xu et al. 2019) with its package's defaults: 300 epochs, mode-specific normalization. Not private."""
    from ctgan import CTGAN

    _seed_torch(request["seed"])
    model = CTGAN(cuda=False, verbose=False)
    model.fit(given, request["discrete"])
    return pd.DataFrame(model.sample(request["rows"]))


def arf(request: Request, given: pd.DataFrame) -> pd.DataFrame:
    """Adversarial random forests (Watson et al. 2023, arXiv 2205.09435) with arfpy's defaults: 30 trees. Not private.

    A leaf draws a number around the mean of its rows; one whose rows are all the same returns their number.
    """
    from arfpy.arf import arf as forest

    model = forest(given, verbose=False, random_state=request["seed"], n_jobs=1)
    model.forde()
    return pd.DataFrame(model.forge(request["rows"]))


def dp_ctgan(request: Request, given: pd.DataFrame) -> pd.DataFrame:
    """DP-CTGAN (Rosenblatt et al. 2020) with its package's defaults; every code is a category of its own."""
    from snsynth.pytorch.nn.dpctgan import DPCTGAN

    _seed_torch(request["seed"])
    model = DPCTGAN(epsilon=request["epsilon"], delta=request["delta"], cuda=False, verbose=False)
    return _fitted(model, request, given, is_one_hot=True)


def par(request: Request, given: pd.DataFrame) -> pd.DataFrame:
    """PAR (Zhang et al. 2022), of SDV, with its package's defaults: 128 epochs. It makes visits and is not private."""
    from sdv.metadata import Metadata
    from sdv.sequential import PARSynthesizer

    _seed_torch(request["seed"])
    patient, time = request["patient"], request["time"]
    kinds = {name: "numerical" if name in request["numbers"] else "categorical" for name in given}
    columns = {name: {"sdtype": "id" if name == patient else kind} for name, kind in kinds.items()}
    visits = {"columns": columns, "sequence_key": patient, "sequence_index": time}
    model = PARSynthesizer(
        Metadata.load_from_dict({"tables": {"visits": visits}}), context_columns=request["context"], cuda=False
    )
    model.fit({"visits": given.astype({patient: str})})
    return pd.DataFrame(model.sample_sequences(request["patients"])["visits"])


PROGRAMS: dict[str, Program] = {"arf": arf, "ctgan": ctgan, "dp-ctgan": dp_ctgan, "par": par}


def _fitted(model: Any, request: Request, given: pd.DataFrame, *, is_one_hot: bool = False) -> pd.DataFrame:
    """Fit a model of smartnoise-synth and sample it. Its preprocessing gets every code, and so costs no epsilon."""
    from snsynth.transform import ChainTransformer, LabelTransformer, OneHotEncoder, TableTransformer

    sizes = request["sizes"]
    labels = [LabelTransformer(nullable=False) for _ in sizes]
    columns = [ChainTransformer([label, OneHotEncoder()]) for label in labels] if is_one_hot else labels
    transformer = TableTransformer(columns)
    every = pd.DataFrame({name: np.arange(max(sizes)) % size for name, size in zip(given, sizes, strict=True)})
    transformer.fit(every)
    model.fit(given, transformer=transformer)
    return pd.DataFrame(model.sample(request["rows"]), columns=given.columns)


def _seed_torch(seed: int) -> None:
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)


def main(folder: Path, programs: Mapping[str, Program]) -> None:
    """Read the request, run the program and write its table, or the name of the exception it raised."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    given = pd.read_csv(folder / "given.csv", keep_default_na=False, na_values=[""])
    warnings.simplefilter("ignore")
    random.seed(request["seed"])
    np.random.seed(request["seed"])  # the generator that packages draw from
    try:
        programs[request["program"]](request, given).to_csv(folder / "made.csv", index=False)
    except Exception as problem:
        (folder / "failure.json").write_text(json.dumps({"exception": type(problem).__name__}), encoding="utf-8")
        sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), PROGRAMS)
