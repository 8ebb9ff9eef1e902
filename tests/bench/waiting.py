"""Memory of tasks that wait for their pods: in the triggerer that follows them, in the launcher that started them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from local.cluster import settings
from local.cluster.console import wait_for
from local.cluster.kind import kubectl
from tests.bench import dagrun, work
from tests.bench.cases import CELERY
from tests.bench.cgroups import MIB
from tests.bench.measure import Bench

#: Seconds that the tasks wait before memory is read: buffers of their start are free again.
REST = 30.0


@dataclass(frozen=True)
class Waiting:
    """What ``n`` waiting tasks take, in MiB a task, beyond what the same pods took with none."""

    launch: str
    n: int
    triggerer_mib_per_task: float
    launcher_mib_per_task: float
    triggerer_idle_mib: float
    launcher_idle_mib: float


def measure(bench: Bench, launch: str, n: int, note: Callable[[str], None]) -> Waiting:
    """Start ``n`` tasks that wait, read the memory, and end them.

    The pods are new, and have run one task: what an earlier burst left in their heaps would hide what these tasks take.

    :raises Problem: the tasks do not come to wait.
    """
    components = {"triggerer": "triggerer", "launcher": "launcher" if launch == CELERY else "scheduler"}
    note("restarting triggerer and launcher")
    restart({*components.values(), "scheduler"})
    bench.run(work.dag_id("platform", 1), 1, note)
    before = _rested(bench, components, note)
    dag_id = work.dag_id("waiting", n)
    run = dagrun.trigger(bench.airflow, dag_id)
    try:

        def runs() -> bool:
            running = len(bench.task_pods.pods(lambda pod: pod.phase == "Running", dag_id=dag_id))
            note(f"{running} of {n} run")
            return running == n

        wait_for(f"{n} tasks that wait", runs, seconds=300 + 10 * n)
        wait_for("deferred tasks", lambda: dagrun.deferred(bench.airflow, run) == n, seconds=300, every=2)
        after = _rested(bench, components, note)
    finally:
        dagrun.stop(bench.airflow, run)
        kubectl("delete", "pods", "-n", settings.TASK_NAMESPACE, "-l", f"dag_id={dag_id}", "--grace-period=1")
    each = {part: (after[part] - before[part]) / n / MIB for part in components}
    return Waiting(
        launch,
        n,
        triggerer_mib_per_task=each["triggerer"],
        launcher_mib_per_task=each["launcher"],
        triggerer_idle_mib=before["triggerer"] / MIB,
        launcher_idle_mib=before["launcher"] / MIB,
    )


def _rested(bench: Bench, components: dict[str, str], note: Callable[[str], None]) -> dict[str, int]:
    """{part: anonymous memory in bytes}, after a rest."""
    note(f"resting {REST:.0f} s")
    time.sleep(REST)
    found = bench.memory()
    return {part: found[f"{settings.NAMESPACE}/{name}"] for part, name in components.items()}


def restart(components: Iterable[str]) -> None:
    """New pods of these components, ready."""
    selector = f"app.kubernetes.io/component in ({','.join(sorted(components))})"
    words = ("deployments", "-n", settings.NAMESPACE, "-l", selector)
    kubectl("rollout", "restart", *words)
    kubectl("rollout", "status", *words, "--timeout=300s")
