"""What the cluster takes of this machine, by Docker's own account of its containers."""

from __future__ import annotations

import json
import re
import subprocess

from local.cluster import settings

UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def measure(samples: int = 10) -> tuple[float, float]:
    """Memory in GiB, the last sample, and processor use in cores, the mean of ``samples`` (about 2 s each)."""
    words = ["docker", "stats", "--no-stream", "--format", "{{json .}}"]
    memory, cores = 0.0, []
    for _ in range(samples):
        lines = subprocess.check_output(words, text=True).splitlines()
        ours = [one for one in map(json.loads, lines) if one["Name"].startswith(f"{settings.CLUSTER}-")]
        memory = sum(_bytes(one["MemUsage"].partition(" / ")[0]) for one in ours) / 2**30
        cores.append(sum(float(one["CPUPerc"].rstrip("%")) for one in ours) / 100)
    return memory, sum(cores) / len(cores)


def _bytes(text: str) -> float:
    """``2.1GiB`` -> 2254857830.4"""
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()  # type: ignore[union-attr]
    return float(number) * UNITS[unit]
