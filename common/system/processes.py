"""Processes that end with their parent, however the parent ends."""

from __future__ import annotations

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Number of the option in Linux's prctl.h."""


def end_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent ends (prctl(2)); Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
