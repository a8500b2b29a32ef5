"""The input of an evaluation: the tables, the schema and the study's settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from common.evaluation.statistics.codes import CodedTables, check_columns, check_comparable, encode
from common.evaluation.statistics.images import ComparedImages
from common.evaluation.statistics.values import Labels
from common.study.rules import Rule
from common.study.schema import Schema

DrawClass = Callable[[str, int], pd.DataFrame]
"""Draws synthetic rows of a class of the target, by its label; the second argument is how many."""


@dataclass(frozen=True, slots=True, eq=False)
class HospitalLabels:
    """The hospital of every training row and of every held-out row, shape (rows,)."""

    training: Labels
    holdout: Labels


@dataclass(frozen=True, eq=False)
class EvaluationData:
    """A synthetic table beside the real ones that it is measured against. All tables are cut to the schema's columns.

    Attributes:
        train: conformed real rows that the synthesizer was trained on.
        holdout: conformed real rows that it never saw; may be empty.
        synthetic: the table under test.
        schema: says which columns are numeric; its bounds, decimals and categories give the charts their axes.
        target: the column to predict.
        time: the column that says when the target's event happened, where it is a survival outcome.
        rules: declared rules, whose violations are counted.
        sensitive: columns whose groups are compared.
        hospitals: the hospital of every real row, where it is known.
        is_one_hospital: whether all real rows are those of one hospital, which looks at itself.
        draw_class: draws synthetic rows of one class of the target, where a model can.
        before_rounds: the table that the same run gives without its training rounds, where it had any.
        images: synthetic images beside real ones; None for a study without images.
        epsilon, delta: what the release promises each patient, the largest over hospitals, for the bounds beside the
            attacks; None where nothing is promised or known.

    Raises:
        DataError: a column is absent from a table, or the training or the synthetic table has no rows.
    """

    train: pd.DataFrame
    holdout: pd.DataFrame
    synthetic: pd.DataFrame
    schema: Schema
    target: str
    time: str | None = None
    rules: tuple[Rule, ...] = ()
    sensitive: tuple[str, ...] = ()
    hospitals: HospitalLabels | None = None
    is_one_hospital: bool = False
    draw_class: DrawClass | None = None
    before_rounds: pd.DataFrame | None = None
    images: ComparedImages | None = None
    epsilon: float | None = None
    delta: float | None = None

    def __post_init__(self) -> None:
        columns = pd.DataFrame(columns=list(self.schema.names))
        for table, role in ((self.train, "training"), (self.holdout, "held-out"), (self.synthetic, "synthetic")):
            check_columns(columns, table, role)
        check_comparable(self.train[list(self.schema.names)], self.synthetic, "synthetic")
        for name in ("train", "holdout", "synthetic"):
            object.__setattr__(self, name, getattr(self, name)[list(self.schema.names)])

    @cached_property
    def numeric(self) -> frozenset[str]:
        """The columns that the schema declares numeric."""
        return frozenset(column.name for column in self.schema.each() if column.grid is not None)

    @cached_property
    def codes(self) -> CodedTables:
        """Training and synthetic rows as codes, column types by the schema."""
        return encode(self.train, self.synthetic, numeric=self.numeric)
