"""The tasks that run now, and which of them an upgrade touches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: The executor that the cluster policy names for tasks of pods.
LAUNCHER = "launcher"


@dataclass(frozen=True)
class Tasks:
    """How many task instances are in which state."""

    #: In a phase of theirs, in a launcher's process: they start or end.
    in_launcher: int = 0
    #: In a worker pod of the KubernetesExecutor.
    in_workers: int = 0
    #: Their pods run, and a triggerer follows them.
    deferred: int = 0
    queued: int = 0

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str, int]]) -> Tasks:
        """Of rows of state, executor and number."""
        counts = {"in_launcher": 0, "in_workers": 0, "deferred": 0, "queued": 0}
        for state, executor, number in rows:
            if state == "deferred":
                counts["deferred"] += number
            elif state in ("running", "restarting"):
                counts["in_launcher" if executor == LAUNCHER else "in_workers"] += number
            else:
                counts["queued"] += number
        return cls(**counts)
