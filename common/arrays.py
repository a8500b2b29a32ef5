"""The array types of all packages, each defined once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

AnyIntegers = npt.NDArray[np.integer[Any]]
"""Integers of any width, where memory matters."""

Bytes = npt.NDArray[np.uint8]

Words = npt.NDArray[np.uint32]
"""Integers modulo 2^32."""

Array = npt.NDArray[Any]
"""An array whose element type its owner states."""

Weights = dict[str, npt.NDArray[np.float32]]
"""A synthesizer's parameters by name; those of the GAN begin with `gen.` (generator) or `disc.` (discriminator)."""
