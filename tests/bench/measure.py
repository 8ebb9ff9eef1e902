"""One case, measured: how long it took, what it cost, how many pods it needed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kubernetes.client import CoreV1Api
from local.cluster.airflow import Airflow
from local.cluster.console import wait_for
from tests.bench import bare, cgroups, dagrun, work
from tests.bench.cases import BARE, OURS, Case
from tests.bench.cgroups import Spent
from tests.bench.containers import ContainerTimes
from tests.observe.pods import Pod, PodRecord

#: Seconds that a run may take at most, and for each of its tasks.
AT_MOST, AT_MOST_A_TASK = 300, 30
#: The cluster is at rest again when it uses at most this share more than when idle, and this many cores.
REST_SHARE, REST_CORES = 1.25, 0.1
#: What is not at rest after this many seconds is measured as it is.
REST_AT_MOST = 45.0
#: Seconds for the pods of a run to be deleted, after its end.
DELETED_AT_MOST = 120.0


@dataclass(frozen=True)
class Measured:
    """One case in one round. Times in seconds; ``cpu_s`` by part of the cluster, less what idles away.

    ``release`` is the launcher of the release that was installed: what is launched otherwise is measured beside each.
    ``pods`` counts every pod that was created for the tasks, ``workers`` those of them in the platform's own namespace,
    ``strangers`` those that came meanwhile for something else: their processor time cannot be told from the tasks'.
    ``launch_s`` and ``end_s`` have an entry for each task whose container ran.
    """

    release: str
    launch: str
    n: int
    round: int
    total_s: float
    wall_s: float
    launch_s: list[float]
    end_s: list[float]
    cpu_s: dict[str, float]
    pods: int
    workers: int
    strangers: int
    failed: int
    run_id: str = ""


@dataclass
class Bench:
    """The cluster under measurement. ``task_pods`` and ``platform_pods`` record the pods of their namespaces."""

    airflow: Airflow
    api: CoreV1Api
    task_pods: PodRecord
    platform_pods: PodRecord
    times: ContainerTimes
    nodes: list[str]
    #: Seconds of one look at what the cluster uses when nothing is to do.
    idle_seconds: float
    idles: list[Spent] = field(default_factory=list)

    def idle(self, note: Callable[[str], None]) -> None:
        """Look once more at what the cluster uses when nothing is to do; all looks count together."""
        before = self.snapshot()
        while (left := before.at + self.idle_seconds - time.time()) > 0:
            note(f"{left:.0f} s left")
            time.sleep(min(left, 5))
        self.idles.append(self.spent(before))
        last = self.idles[-1]
        note(f"{last.total / last.seconds:.2f} cores")

    def measure(self, release: str, case: Case, number: int, note: Callable[[str], None]) -> Measured:
        """Run the case on a release with that launcher, in round ``number``.

        :raises Problem: it could not be run as the case says.
        """
        before = self.snapshot()
        if case.launch == BARE:
            batch = bare.run(self.api, self.task_pods, case.n, note)
        else:
            dag_id = work.dag_id("platform" if case.launch in OURS else case.launch, case.n)
            run = self.run(dag_id, case.n, note)
            dagrun.check_executor(run, "launcher" if case.launch in OURS else "KubernetesExecutor")
        label = {bare.LABEL: batch.name} if case.launch == BARE else {"dag_id": dag_id}
        if case.launch != BARE:
            self._deleted(label)
        self._rest()
        used = self.spent(before)
        tasks, task_strangers = _told_apart(self.task_pods, before.at, label)
        workers, worker_strangers = _told_apart(self.platform_pods, before.at, label)
        if case.launch == BARE:
            figures = self._of_batch(batch)
            bare.remove(self.api, self.task_pods)
            self._rest()
        else:
            figures = self._of_run(run, tasks)
        return Measured(
            release=release,
            launch=case.launch,
            n=case.n,
            round=number,
            cpu_s=used.beyond(cgroups.together(self.idles)),
            pods=len(tasks) + len(workers),
            workers=len(workers),
            strangers=len(task_strangers) + len(worker_strangers),
            **figures,
        )

    def run(self, dag_id: str, n: int, note: Callable[[str], None]) -> dagrun.Run:
        """One run of a DAG with ``n`` tasks, to its end."""
        run = dagrun.trigger(self.airflow, dag_id)
        return dagrun.wait(self.airflow, run, AT_MOST + n * AT_MOST_A_TASK, note, every=0.5 if n == 1 else 1.0)

    def snapshot(self) -> cgroups.Snapshot:
        """The cluster's counters now."""
        return cgroups.read(self.nodes)

    def spent(self, before: cgroups.Snapshot) -> Spent:
        """What the cluster used since ``before``."""
        return cgroups.spent(before, self.snapshot(), self._names())

    def memory(self) -> dict[str, int]:
        """Anonymous memory in bytes, by part as in :class:`Spent`."""
        snapshot, names = self.snapshot(), self._names()
        found: dict[str, int] = {}
        for pod, used in snapshot.memory.items():
            if pod in names:
                found[names[pod]] = found.get(names[pod], 0) + used
        return found

    def _of_batch(self, batch: bare.Batch) -> dict:
        launch, end = [], []
        for pod in batch.pods:
            started, ended = self._times(pod)
            if started and ended and pod.terminated:
                launch.append(started - batch.began)
                end.append(pod.terminated - ended)
        total = batch.ended - batch.began
        return {"total_s": total, "wall_s": total, "launch_s": launch, "end_s": end, "failed": batch.failed}

    def _of_run(self, run: dagrun.Run, came: list[Pod]) -> dict:
        pods = {pod.labels.get("task_id"): pod for pod in came}
        launch, end = [], []
        for instance in run.instances:
            pod = pods.get(instance["task_id"])
            started, ended = self._times(pod) if pod else (None, None)
            if started and ended and instance["end_date"]:
                launch.append(started - run.scheduled(instance, before=started))
                end.append(dagrun.timestamp(instance["end_date"]) - ended)
        return {
            "total_s": run.ended - run.began,
            "wall_s": run.seen_ended - run.began,
            "launch_s": launch,
            "end_s": end,
            "failed": run.failed,
            "run_id": run.run_id,
        }

    def _times(self, pod: Pod) -> tuple[float | None, float | None]:
        # "containerd://<id>"
        container = pod.container().get("containerID", "").rpartition("/")[2]
        return self.times.started.get(container), self.times.ended.get(container)

    def _deleted(self, labels: dict[str, str]) -> None:
        """Wait until the pods of a run's tasks are gone, which may be after its end: what that takes counts."""

        def deleted() -> bool:
            return all(pod.deleted for pod in self.task_pods.pods(**labels))

        wait_for("the end of the tasks' pods", deleted, seconds=DELETED_AT_MOST)

    def _rest(self) -> None:
        """Wait until what the case left to do is done: pods that are deleted, logs that are uploaded."""
        idle = cgroups.together(self.idles)
        calm = REST_SHARE * idle.total / idle.seconds + REST_CORES
        deadline, last = time.time() + REST_AT_MOST, self.snapshot()
        while time.time() < deadline:
            time.sleep(3)
            now = self.snapshot()
            if (now.nodes - last.nodes) / (now.at - last.at) <= calm:
                return
            last = now

    def _names(self) -> dict[str, str]:
        found = self.api.list_pod_for_all_namespaces(_preload_content=False)
        return cgroups.names_of(json.loads(found.data)["items"])


def _told_apart(record: PodRecord, since: float, labels: dict[str, str]) -> tuple[list[Pod], list[Pod]]:
    """The pods that came since then: those with these labels, and the others."""
    came = record.pods(lambda pod: pod.first_seen >= since)
    mine = [pod for pod in came if labels.items() <= pod.labels.items()]
    return mine, [pod for pod in came if pod not in mine]
