"""The discriminator: a multilayer perceptron over one-hot rows.

It is among the privacy mechanisms because it is the one network whose per-patient gradients DP-SGD clips: `dpsgd` needs
its linear layers and their inputs to bound what one patient contributes. It has no batch statistics and does not pack
several rows into one input, since both would mix patients.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
"""Slope of LeakyReLU for negative inputs."""


class Trace(NamedTuple):
    """A forward pass with what per-example norms need: each layer's input and output, shapes (rows, features)."""

    logits: Tensor
    inputs: list[Tensor]
    outputs: list[Tensor]


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

    def trace(self, rows: Tensor) -> Trace:
        """Return the forward pass for one-hot rows of shape (rows, width), with every layer's input and output."""
        inputs, outputs = [], []
        for index, layer in enumerate(self.linear):
            inputs.append(rows)
            outputs.append(layer(rows))
            rows = F.leaky_relu(outputs[-1], SLOPE) if index < len(self.layers) - 1 else outputs[-1]
        return Trace(rows.squeeze(1), inputs, outputs)

    def forward(self, rows: Tensor) -> Tensor:
        """Return logits of shape (rows,) for one-hot rows of shape (rows, width)."""
        return self.trace(rows).logits
