"""What this process has used so far: processor time and memory."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def cpu_seconds(*, with_children: bool = False) -> float:
    """Return processor seconds of this process; with children, also of those that it waited for."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN) if with_children else (resource.RUSAGE_SELF,)
    used = (resource.getrusage(kind) for kind in kinds)
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def peak_mib() -> float:
    """Return the most memory that this process has held at once, in MiB.

    On Linux `ru_maxrss` counts what a parent held when the process started; the high-water mark of its status does not.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
