"""The columns of histories: which are of the patient, which of the visit, and where their codes are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from common.marginals.histories import step_columns, steps_domain
from common.marginals.queries import Domain
from common.study.schema import SINCE_LAST_VISIT, VISIT, VISITS, VisitsSchema


@dataclass(frozen=True, eq=False)
class HistoryColumns:
    """What the columns of visits are.

    Attributes:
        domain: codes of every column.
        steps: codes of a step, `steps_domain`.
        step_columns: columns that transitions are counted of.
        is_of_visit: by column.
        visits, visit: the columns of the number of visits and of the visit's number, which are fixed.
        since: the column of the time since the visit before, missing at the first one alone; None where times are not
            synthesized.
    """

    domain: Domain
    steps: Domain
    step_columns: tuple[int, ...]
    is_of_visit: tuple[bool, ...]
    visits: int
    visit: int
    since: int | None

    @classmethod
    def of(cls, schema: VisitsSchema, domain: Domain) -> HistoryColumns:
        """Return the columns of a modeled table of visits."""
        return cls(
            domain,
            steps_domain(domain, schema),
            step_columns(schema),
            schema.is_of_visit,
            schema.names.index(VISITS),
            schema.names.index(VISIT),
            schema.names.index(SINCE_LAST_VISIT) if SINCE_LAST_VISIT in schema.names else None,
        )

    @cached_property
    def free(self) -> tuple[int, ...]:
        """The columns that are drawn."""
        return tuple(column for column in range(len(self.domain.sizes)) if column not in (self.visits, self.visit))

    @cached_property
    def of_patient(self) -> list[int]:
        """The columns of the patient."""
        return [column for column, is_of_visit in enumerate(self.is_of_visit) if not is_of_visit]

    @cached_property
    def of_visit(self) -> list[int]:
        """The columns of the visit."""
        return [column for column, is_of_visit in enumerate(self.is_of_visit) if is_of_visit]

    @cached_property
    def offsets(self) -> list[int]:
        """Index of each column's first code when all codes stand side by side, then the number of all codes."""
        return [0, *np.cumsum(self.domain.sizes).tolist()]

    @cached_property
    def step_offsets(self) -> list[int]:
        """The same of the columns of a visit in a step."""
        return [0, *np.cumsum(self.steps.sizes[: len(self.step_columns)]).tolist()]

    def span(self, column: int) -> slice:
        """Return where a column's codes are when all codes stand side by side."""
        return slice(*self.offsets[column : column + 2])

    def codes_of(self, columns: Sequence[int]) -> Tensor:
        """Return where the codes of some columns are when all codes stand side by side, int64."""
        every = torch.arange(self.offsets[-1])
        return torch.cat([every[:0], *(every[self.span(column)] for column in columns)])
