"""A quota that is full, as the phases of one launcher tell each other.

A task that begins while others wait for a quota does not try: it waits behind them. The line that they stand in is the
triggerer's; what the launcher knows of it is that the quota has refused a pod a moment ago, or let in one that waited.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from airflow_platform.cluster import ClusterRef
from airflow_platform.diagnosis.quantity import Amounts, amounts
from airflow_platform.diagnosis.quota import Quota

#: Seconds for which nobody who begins tries; then who does finds out anew.
_FRESH = 10


class FullQuota:
    """The quota that is full for pods of one priority class in one namespace, if one is.

    It is known by a file, which all phases in this pod of Airflow see. Where there can be none, each task tries.

    Args:
        cluster, namespace: where the pods are.
        priority_class: of the pods, by which quotas tell them.
    """

    def __init__(self, cluster: ClusterRef, namespace: str, priority_class: str | None) -> None:
        key = json.dumps([asdict(cluster), namespace, priority_class])
        folder = Path(tempfile.gettempdir()) / "airflow-platform-full-quotas"
        self._file = folder / hashlib.sha256(key.encode()).hexdigest()[:16]

    def now(self) -> Quota | None:
        """What others wait for, as it was when it refused a pod; None where nothing is known of that."""
        try:
            # One of a time that is yet to come is none of now: the clock was set back.
            if 0 <= time.time() - self._file.stat().st_mtime < _FRESH:
                return _read(self._file.read_text())
        except (OSError, ValueError, KeyError):
            pass
        return None

    def refused(self, quota: Quota) -> None:
        """It has refused a pod."""
        new = self._file.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(_written(quota))
            _touch(new)
            new.replace(self._file)

    def let_in(self) -> None:
        """It has let in the pod of a task that had waited; others may wait still."""
        with contextlib.suppress(OSError):
            _touch(self._file)


def _touch(file: Path) -> None:
    """Give a file the time of this process's clock, by which it is read."""
    now = time.time()
    os.utime(file, (now, now))


def _written(quota: Quota) -> str:
    used, hard = (_quantities(of) for of in (quota.used, quota.hard))
    return json.dumps({"name": quota.name, "namespace": quota.namespace, "used": used, "hard": hard})


def _quantities(of: Amounts) -> dict[str, str]:
    return {name: str(amount) for name, amount in of.items()}


def _read(text: str) -> Quota:
    found = json.loads(text)
    used, hard = amounts(found["used"]), amounts(found["hard"])
    return Quota(name=found["name"], namespace=found["namespace"], used=used, hard=hard)
