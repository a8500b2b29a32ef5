"""Every kind of synthesizer by name, with the code that runs it. Networks are imported when one is made.

A new synthesizer adds its code to `SYNTHESIZERS` here and its settings to
`common.study.synthesizers.SYNTHESIZER_SETTINGS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.encoding import Encoder
from common.errors import StudyError
from common.marginals.queries import Domain
from common.study.schema import VisitsSchema
from common.study.synthesizers import SynthesizerSettings
from common.synthesizers.base import AdversarialSynthesizer, Synthesizer


def _marginal_gan(settings: Any, encoder: Encoder) -> Synthesizer:
    from common.synthesizers.gan.synthesizer import MarginalGan  # torch takes a second to load

    return MarginalGan(settings, encoder.sizes)


def _marginal_vae(settings: Any, encoder: Encoder) -> Synthesizer:
    from common.synthesizers.vae.synthesizer import MarginalVae  # torch takes a second to load

    return MarginalVae(settings, encoder.sizes)


def _maximum_entropy(settings: Any, encoder: Encoder) -> Synthesizer:
    if isinstance(encoder.schema, VisitsSchema):
        from common.synthesizers.maximum_entropy.histories import MaximumEntropyHistories

        return MaximumEntropyHistories(settings, encoder.schema, Domain.of(encoder))
    from common.synthesizers.maximum_entropy.synthesizer import MaximumEntropy

    return MaximumEntropy(settings, Domain.of(encoder))


def _history_gan(settings: Any, encoder: Encoder) -> Synthesizer:
    from common.synthesizers.history_gan.synthesizer import HistoryGan  # torch takes a second to load

    assert isinstance(encoder.schema, VisitsSchema), "a study of visits"
    return HistoryGan(settings, encoder.schema, Domain.of(encoder))


SYNTHESIZERS: dict[str, Callable[[Any, Encoder], Synthesizer]] = {
    "marginal-gan": _marginal_gan,
    "marginal-vae": _marginal_vae,
    "history-gan": _history_gan,
    "maximum-entropy": _maximum_entropy,
}
"""Makes a synthesizer from its settings (`common.study.synthesizers`) and the encoder of its codes."""


def make_synthesizer(settings: SynthesizerSettings, encoder: Encoder) -> Synthesizer:
    """Return the synthesizer that the study names, sized for the encoder."""
    return SYNTHESIZERS[settings.kind](settings, encoder)


def make_adversarial(settings: SynthesizerSettings, encoder: Encoder) -> AdversarialSynthesizer:
    """Return the synthesizer that the study names, for training in rounds.

    Raises:
        StudyError: it does not train in rounds.
    """
    synthesizer = make_synthesizer(settings, encoder)
    if not isinstance(synthesizer, AdversarialSynthesizer):
        raise StudyError(f"synthesizer '{settings.kind}' does not train in rounds; set [training] rounds = 0")
    return synthesizer
