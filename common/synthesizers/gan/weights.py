"""Networks and optimizers as `Weights`: arrays by name, and back."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from common.arrays import Weights


def dump(network: nn.Module, prefix: str) -> Weights:
    """Return copies of a network's parameters, their names behind the prefix."""
    return {prefix + name: value.detach().numpy().copy() for name, value in network.state_dict().items()}


def restore(network: nn.Module, prefix: str, weights: Weights) -> None:
    """Set a network's parameters to what `dump` returned.

    Args:
        network: network to set.
        prefix: what the names of its parameters begin with.
        weights: arrays by name.
    """
    parameters = {name: torch.from_numpy(np.array(weights[prefix + name])) for name in network.state_dict()}
    network.load_state_dict(parameters)


def dump_optimizer(optimizer: Adam, prefix: str) -> Weights:
    """Return steps taken and both moments of every parameter, as float32 arrays of at least one dimension."""
    return {
        f"{prefix}{index}.{key}": np.atleast_1d(value.numpy().copy())
        for index, moments in optimizer.state_dict()["state"].items()
        for key, value in moments.items()
    }


def restore_optimizer(optimizer: Adam, prefix: str, state: Weights) -> None:
    """Set an optimizer to what `dump_optimizer` returned; leave it as new where the state has nothing of it.

    Args:
        optimizer: optimizer to set.
        prefix: what the names of its state begin with.
        state: arrays by name.
    """
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        if name.startswith(prefix):
            index, _, key = name.removeprefix(prefix).partition(".")
            tensor = torch.from_numpy(np.array(value))
            moments.setdefault(int(index), {})[key] = tensor.reshape(()) if key == "step" else tensor
    if moments:
        optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
