"""The arms of a benchmark: who trains on what, under which promise. An arm is an entry in `ARMS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from simulations.benchmark.peers import PEERS
from simulations.benchmark.synthesis import (
    ADVERSARY,
    GAN,
    INDEPENDENT,
    LONGER,
    PLAIN,
    VAE,
    VAE_FIT,
    Sections,
    SynthesisResult,
    SynthesisTask,
    bootstrap,
    federated,
    local_only,
    marginals_alone,
    peer,
)


@dataclass(frozen=True, slots=True)
class BenchmarkArm:
    """One way to make a table.

    Attributes:
        run: makes the table.
        label: its name for readers.
        promise: whose privacy its epsilon bounds; an arm without a budget has one case per seed, at "epsilon 0".
        needs_sites: it runs only on tables that name each row's hospital.
        peer: synthesizer of another project or paper that it runs.
    """

    run: Callable[[SynthesisTask], SynthesisResult]
    label: str
    promise: Literal["each hospital", "trusted curator", "none"]
    needs_sites: bool = False
    peer: str | None = None

    @property
    def has_budget(self) -> bool:
        return self.promise != "none"


VARIANTS: dict[str, Sections] = {
    "fewer-histograms": {"budget": {"histograms": 0.08}},
    "more-histograms": {"budget": {"histograms": 0.30}},
    "more-coarse": {"budget": {"coarse": 0.80}},
    "more-pairs": {"budget": {"pairs": 0.90}},
    "more-triples": {"budget": {"triples": 0.60}},
    "votes": {"synthesizer": {"kind": "maximum-entropy", "votes": True}},
    "without-votes": {"synthesizer": {"kind": "maximum-entropy", "votes": False}},
}
"""Other constants for the planner, to test whether its own suit a table on which they were not tuned."""


def _central(label: str, settings: Sections) -> BenchmarkArm:
    run = partial(federated, hospitals=1, settings=settings)
    return BenchmarkArm(run, label, "each hospital")


def _local(label: str, hospitals: int | None) -> BenchmarkArm:
    """Return the arm of hospitals that each add their own noise."""
    run = partial(federated, hospitals=hospitals, settings={})
    return BenchmarkArm(run, label, "each hospital", needs_sites=hospitals is None)


def _alone(label: str, hospitals: int | None) -> BenchmarkArm:
    return BenchmarkArm(partial(local_only, hospitals=hospitals), label, "each hospital", needs_sites=hospitals is None)


SYNCHRONOUS: Sections = ADVERSARY | {"training": {"rounds": 300, "steps": 1, "batch": 2000}}


def _shared(
    label: str, hospitals: int | None, *, dropouts: int = 0, skew: float | None = None, more: Sections | None = None
) -> BenchmarkArm:
    """Return the arm of hospitals that share one draw of noise; one of them may collude with the coordinator."""
    settings: Sections = (more or {}) | {
        "privacy": {"noise": "distributed"}, "federation": {"dropouts": dropouts, "colluders": 1},
    }  # fmt: skip
    run = partial(federated, hospitals=hospitals, settings=settings, skew=skew)
    return BenchmarkArm(run, label, "each hospital", needs_sites=hospitals is None)


def _priced(label: str, price: float) -> BenchmarkArm:
    """Return the arm of a central curator with `price` times the variance: the reference for shared noise."""
    run = partial(federated, hospitals=1, settings={}, price=price)
    return BenchmarkArm(run, label, "each hospital")


WITHOUT_NOISE: Sections = {"privacy": {"noise": "none"}}

ARMS: dict[str, BenchmarkArm] = {
    "bootstrap": BenchmarkArm(bootstrap, "real rows, resampled", "none"),
    "non-private": BenchmarkArm(
        partial(federated, hospitals=1, settings=WITHOUT_NOISE), "centralized, no noise", "none"
    ),
    "central": _central("centralized", {}),
    "by-site": _local("federated by hospital, local noise", None),
    "local-4": _local("federated, 4 random hospitals, local noise", 4),
    "alone-by-site": _alone("each hospital alone", None),
    "alone-4": _alone("each of 4 random hospitals alone", 4),
    "marginals-only": _central("marginals only", {"training": {"rounds": 0}}),
    "marginal-gan": _central("the GAN, same marginals", GAN),
    "marginal-vae": _central("the VAE, with encoder rounds", VAE),
    "vae-without-rounds": _central("the VAE, same marginals, no rounds", VAE_FIT),
    "plain-dp-gan": _central("plain DP-GAN", PLAIN),
    "independent": _central("independent columns", INDEPENDENT),
    "adversary": _central("with the adversary", ADVERSARY),
    "placebo": _central("with a placebo", ADVERSARY | {"budget": {"adversary": 1e-2}}),
    "longer-fit": _central("its budget to measurements, its steps to the fit", LONGER),
    "measurements-alone": BenchmarkArm(marginals_alone, "its budget unspent, its steps to the fit", "each hospital"),
}
ARMS |= {f"local-{count}": _local(f"federated, {count} random hospitals, local noise", count) for count in (3, 8, 25)}
ARMS |= {
    f"distributed-{count}": _shared(f"federated, {count} random hospitals, shared noise", count)
    for count in (3, 4, 8, 25)
}
ARMS |= {
    "distributed-by-site": _shared("federated by hospital, shared noise", None),
    "distributed-4-dropout": _shared("the same, one may drop out", 4, dropouts=1),
    "distributed-4-skewed": _shared("4 hospitals of different mix, shared noise", 4, skew=0.5),
    "central-like-4": _priced("centralized, 4/3 of the variance", 4 / 3),
    "central-like-4-dropout": _priced("centralized, twice the variance", 4 / 2),
    "synchronous-4": _shared("synchronous training of 4 hospitals", 4, more=SYNCHRONOUS),
}
ARMS |= {name: _central(name.replace("-", " "), variant) for name, variant in VARIANTS.items()}
ARMS |= {
    name: BenchmarkArm(
        partial(peer, name=name), spec.label, "trusted curator" if spec.is_private else "none", peer=name
    )
    for name, spec in PEERS.items()
}

GROUPS: dict[str, tuple[str, str]] = {
    "centralized": ("central", "central"),
    "federated": ("by-site", "local-4"),
    "federated-shared": ("distributed-by-site", "distributed-4"),
    "local-only": ("alone-by-site", "alone-4"),
}
"""Words for arms that depend on the table: the arm for a table with its own hospitals, and for one without."""

DEFAULT_ARMS = (
    "bootstrap",
    "non-private",
    "centralized",
    "federated",
    "federated-shared",
    "local-only",
    "marginals-only",
    "plain-dp-gan",
    "independent",
)

SHADOWED_ARMS = ("bootstrap", "non-private", "centralized", "independent")
"""Default arms of `benchmark attack`: few, because each case takes many trainings."""


def resolve(word: str, *, has_sites: bool) -> str:
    """Return the arm that a word stands for on a table."""
    with_sites, without = GROUPS.get(word, (word, word))
    return with_sites if has_sites else without
