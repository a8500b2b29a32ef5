"""`[synthesizer]`: the settings of each kind of synthesizer, found by `kind` in one table.

A new synthesizer adds its settings to `SYNTHESIZER_SETTINGS` here and its code to
`common.synthesizers.registry.SYNTHESIZERS`. Nothing in this section changes the guarantee.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from common.settings import Frozen, is_unset


class SynthesizerSettings(Frozen):
    """What the planner needs to know of any synthesizer: which marginals it takes.

    `independent = true` counts single columns only. The planner chooses `bins` (codes of a numeric column), `pairs`
    and `triples` (tables counted) where they are not given.
    """

    kind: str
    independent: bool = False
    bins: int | None = Field(default=None, ge=2, le=256)
    pairs: int | None = Field(default=None, ge=0)
    triples: int | None = Field(default=None, ge=0)

    @property
    def counts_marginals(self) -> bool:
        """Whether the synthesizer is fitted to noisy marginals."""
        return True

    @property
    def takes_votes(self) -> bool | None:
        """Whether patients vote for rows of the synthesizer before triples are chosen; None leaves it to the planner.

        False for a synthesizer that takes no tables of four columns.
        """
        return False

    @property
    def latent_classes(self) -> int:
        """Number of latent classes that hospitals put patients in, round by round; 0 for a synthesizer without."""
        return 0

    @property
    def has_rounds(self) -> bool:
        """Whether hospitals take part in rounds of training."""
        return self.latent_classes > 0

    def drafting(self) -> Self:
        """Return the settings for a model that only decides what to count next."""
        return self


class AdversarialSettings(SynthesizerSettings):
    """Settings of a synthesizer that hospitals train in rounds, against a discriminator.

    `hidden` are the units of each of the discriminator's two hidden layers.
    """

    hidden: int = Field(default=64, ge=1, le=4096)

    @property
    def has_rounds(self) -> bool:
        """Whether hospitals take part in rounds of training: in those of DP-SGD."""
        return True


class GanSettings(AdversarialSettings):
    """Settings of the GAN held to noisy marginals.

    `marginal_weight` is the weight of the marginal loss beside the discriminator; 0 leaves the marginals out and all to
    the rounds. `fit_steps` are optimizer steps of the fit to the marginals. If not given, there are 1500, and twice as
    many where there is little noise and no round follows.
    """

    kind: Literal["marginal-gan"] = "marginal-gan"
    generator: Literal["prototypes", "mlp"] = "prototypes"
    prototypes: int = Field(default=1000, ge=1, le=100_000)
    fit_steps: int | None = Field(default=None, ge=1, le=100_000, exclude_if=is_unset)
    marginal_weight: float = Field(default=20.0, ge=0)

    @property
    def counts_marginals(self) -> bool:
        """Whether the synthesizer is fitted to noisy marginals; if not, it is a plain DP-GAN."""
        return self.marginal_weight > 0


class HistoryGanSettings(AdversarialSettings):
    """Settings of the GAN of whole histories: the maximum-entropy model, which a discriminator of histories tilts.

    `histories` are Gibbs chains of the model, a patient each, from which hospitals draw synthetic patients in rounds.
    `fit_steps` are as for the maximum-entropy model.
    """

    kind: Literal["history-gan"] = "history-gan"
    histories: int = Field(default=2048, ge=64, le=20_000)
    fit_steps: int = Field(default=200, ge=1, le=100_000)

    @property
    def model(self) -> MaximumEntropySettings:
        """The settings of the model that the discriminator tilts."""
        return MaximumEntropySettings(chains=self.histories, fit_steps=self.fit_steps)


class VaeSettings(SynthesizerSettings):
    """Settings of the variational autoencoder held to noisy marginals.

    Its latent is one of `classes` classes. Hospitals encode: in every round they put each patient in a class, by Bayes'
    rule from the coordinator's decoder, and count patients by class and column. The decoder that draws rows has
    `prototypes`, divided among the classes; `fit_steps` are optimizer steps of its fit, chosen as for the GAN.
    """

    kind: Literal["marginal-vae"] = "marginal-vae"
    classes: int = Field(default=24, ge=2, le=1024)
    prototypes: int = Field(default=1000, ge=2, le=100_000)
    fit_steps: int | None = Field(default=None, ge=1, le=100_000, exclude_if=is_unset)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.prototypes < self.classes:
            raise ValueError(
                f"[synthesizer] prototypes = {self.prototypes} are fewer than classes = {self.classes}; every class "
                "needs one: raise prototypes or lower classes"
            )
        return self

    @property
    def latent_classes(self) -> int:
        """Number of latent classes that hospitals put patients in, round by round."""
        return self.classes


class MaximumEntropySettings(SynthesizerSettings):
    """Settings of the maximum-entropy model of the noisy marginals, which does not train in rounds.

    `chains` are Gibbs chains; if not given, between 1024 and 3072, fewer the more columns there are. `fit_steps` are
    sweeps of all chains, each with one step of every potential. `votes` says whether patients vote for rows of the
    model, which chooses tables of three and four columns; if not given, the planner decides.
    """

    kind: Literal["maximum-entropy"] = "maximum-entropy"
    chains: int | None = Field(default=None, ge=64, le=100_000)
    fit_steps: int = Field(default=200, ge=1, le=100_000)
    votes: bool | None = Field(default=None, exclude_if=lambda votes: votes is None)

    @property
    def takes_votes(self) -> bool | None:
        """Whether patients vote, if the study says."""
        return self.votes

    def drafting(self) -> Self:
        """Return the settings with half the steps: what they leave is far below the noise of votes."""
        return self.model_copy(update={"fit_steps": max(1, self.fit_steps // 2)})


DEFAULT_KIND = "maximum-entropy"

SYNTHESIZER_SETTINGS: dict[str, type[SynthesizerSettings]] = {
    DEFAULT_KIND: MaximumEntropySettings,
    "marginal-gan": GanSettings,
    "marginal-vae": VaeSettings,
    "history-gan": HistoryGanSettings,
}
"""Every kind of synthesizer that a study may name, and the settings that it takes."""


def settings_class(section: object) -> type[SynthesizerSettings]:
    """Return the settings class of the kind that a `[synthesizer]` section names.

    Raises:
        ValueError: the kind is unknown; the text lists the known ones and suggests the nearest.
    """
    kind = section.get("kind", DEFAULT_KIND) if isinstance(section, Mapping) else DEFAULT_KIND
    if isinstance(kind, str) and kind in SYNTHESIZER_SETTINGS:
        return SYNTHESIZER_SETTINGS[kind]
    near = difflib.get_close_matches(str(kind), SYNTHESIZER_SETTINGS, n=1, cutoff=0.5)
    suggestion = f"did you mean '{near[0]}'? " if near else ""
    known = ", ".join(SYNTHESIZER_SETTINGS)
    raise ValueError(f"[synthesizer] kind '{kind}' is unknown; {suggestion}choose from: {known}")


def _check_settings(section: Any) -> SynthesizerSettings:
    if isinstance(section, SynthesizerSettings):
        return section
    return settings_class(section).model_validate(section)


AnySynthesizerSettings = SerializeAsAny[Annotated[SynthesizerSettings, BeforeValidator(_check_settings)]]
"""Settings of whichever kind the section names, checked by the class of that kind."""
