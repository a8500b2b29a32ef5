"""The discriminator: a multilayer perceptron over one-hot rows.

It is among the privacy mechanisms because it is the one network whose per-patient gradients DP-SGD clips: `dpsgd` needs
its linear layers and their inputs to bound what one patient contributes. It has no batch statistics and does not pack
several rows into one input, since both would mix patients.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
"""Slope of LeakyReLU for negative inputs."""


class Discriminator(nn.Module):
    """width -> hidden -> hidden -> 1 with LeakyReLU; the logit is positive where a row looks real."""

    def __init__(self, width: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 1)])
        with torch.no_grad():
            for layer in self.linear:
                bound = layer.in_features**-0.5
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)

    @property
    def linear(self) -> list[nn.Linear]:
        """Return the linear layers, from input to output."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, rows: Tensor) -> Tensor:
        """Return logits of shape (rows,) for one-hot rows of shape (rows, width)."""
        first, *later = self.linear
        values: Tensor = first(rows)
        for layer in later:
            values = layer(F.leaky_relu(values, SLOPE))
        return values.squeeze(1)
