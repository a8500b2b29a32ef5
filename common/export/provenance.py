"""What an export says about itself: that it is synthetic, what it cost, and of which study it is."""

from __future__ import annotations

from dataclasses import dataclass

from common.study.study import Study
from common.version import VERSION


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a table comes from.

    Attributes:
        study: of the table.
        epsilon: the highest of its hospitals' in the run; that which the study allows where the run is not known.
        run_id: of the run; None for a table without its run.
        is_simulation: whether the run's noise can be predicted.
    """

    study: Study
    epsilon: float
    run_id: str | None = None
    is_simulation: bool = False

    @property
    def description(self) -> str:
        """One paragraph for people who find the tables without anything else."""
        privacy = self.study.privacy
        if privacy.noise == "none":
            cost = "No noise was added: nothing protects the patients"
        else:
            source = "" if self.run_id else ", as the study allows"
            cost = f"epsilon {self.epsilon:.3f} at delta {privacy.delta:g} for each {privacy.unit}{source}"
        rows = f"Synthetic rows of study {self.study.name}, run {self.run_id}: no row describes a person."
        if not self.run_id:
            rows = (
                f"Rows exported with study {self.study.name} and without a run: that they are synthetic is what "
                "whoever exported them says, and nothing here shows it."
            )
        simulated = "; a simulation, whose noise can be predicted and protects nobody" if self.is_simulation else ""
        return f"{rows} {cost}{simulated}. Study fingerprint {self.study.fingerprint}. Written by fedsynth {VERSION}."
