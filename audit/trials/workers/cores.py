"""How many cores this process may use: of the machine, less what its owner or a container takes away."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Return the cores that this process may use, at least 1.

    Parameters
    ----------
    cgroup
        Where Linux keeps the limits of this container.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, _quota(cgroup)))


def _quota(cgroup: Path) -> int:
    """Return how many cores a container's share of time amounts to, rounded up."""
    most = os.cpu_count() or 1
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = (
                (cgroup / "cpu" / f"cpu.cfs_{what}_us").read_text(encoding="ascii").strip()
                for what in ("quota", "period")
            )
        return most if quota == "max" or int(quota) <= 0 else math.ceil(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return most
