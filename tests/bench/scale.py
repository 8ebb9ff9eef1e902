"""Many waiting tasks, on a node without a kubelet: what they cost the triggerer, and whether its loop keeps up."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

from local.cluster import access, settings
from local.cluster.console import Problem, wait_for
from local.cluster.kind import kubectl
from tests.bench import dagrun, work
from tests.bench.cgroups import MIB, printed
from tests.bench.measure import Bench
from tests.bench.stage import Stage
from tests.bench.waiting import restart
from tests.faults import logs

TRIGGERER = f"{settings.NAMESPACE}/triggerer"
#: Seconds for the tasks to come to wait, or to end, and for each.
AT_MOST, AT_MOST_A_TASK = 300, 5
#: Seconds in which nothing happens but that all tasks wait and each prints a line now and then.
REST = 60.0
#: Prints of the triggerer's processes, in their order, for how many nanoseconds the first thread ran, and waited for a
#: processor (Linux, Documentation/scheduler/sched-stats); that of the last one is the event loop.
SCHEDULED = """
for pid in $(ls -v /proc | grep '^[0-9]'); do
  grep -q '[a]irflow_platform.triggerer' /proc/$pid/cmdline 2>/dev/null && cat /proc/$pid/task/$pid/schedstat
done
true
"""
#: What Airflow's triggerer says when its event loop could not run for longer than 0.2 s.
BLOCKED = re.compile(r"async thread was blocked for (\d+\.\d+) seconds")


@dataclass(frozen=True)
class Point:
    """``n`` tasks that wait at once. Times in seconds.

    ``wait_s``: until all wait; ``end_s``: from the end of all pods at once until the end of the run.
    ``triggerer_mib``: anonymous memory beyond the same triggerer's with no task. ``loop_ran_s``, ``loop_waited_s``: for
    how long its event loop ran, and waited for a processor, while the tasks ended. ``logs_cut``: tasks whose log in S3
    lacks a line that their pod has printed, or has one twice or in another place.
    """

    n: int
    wait_s: float
    end_s: float
    triggerer_cores: float
    triggerer_mib: float
    triggerer_cpu_s_per_task: float
    longest_block_s: float
    blocked_over_1_s: int
    loop_ran_s: float
    loop_waited_s: float
    failed: int
    logs_cut: int


def measure(bench: Bench, stage: Stage, n: int, note: Callable[[str], None]) -> Point:
    """Let ``n`` tasks wait, look at the triggerer, and let all end at once.

    :raises Problem: they do not come to wait.
    """
    note("restarting the triggerer")
    restart(["triggerer"])
    # What it imports and opens for its first task is no task's cost.
    first = dagrun.trigger(bench.airflow, work.dag_id("staged", 1))
    _until_all_wait(bench, first, 1, note)
    _end(bench, stage, first, 1, note)
    since = datetime.now(timezone.utc)
    empty, before = bench.memory()[TRIGGERER], bench.snapshot()
    run = dagrun.trigger(bench.airflow, work.dag_id("staged", n))
    _until_all_wait(bench, run, n, note)
    wait_s = time.time() - run.began
    resting = bench.snapshot()
    while (left := resting.at + REST - time.time()) > 0:
        note(f"all wait; {left:.0f} s left")
        time.sleep(min(left, 5))
    rest, full = bench.spent(resting), bench.memory()[TRIGGERER]
    ending, scheduled = time.time(), _scheduled(bench)
    found = _end(bench, stage, run, n, note)
    ran, waited = (now - then for now, then in zip(_scheduled(bench), scheduled, strict=True))
    blocks = _blocks(since)
    return Point(
        n=n,
        wait_s=wait_s,
        end_s=found.ended - ending,
        triggerer_cores=rest.parts[TRIGGERER] / rest.seconds,
        triggerer_mib=(full - empty) / MIB,
        triggerer_cpu_s_per_task=bench.spent(before).parts[TRIGGERER] / n,
        longest_block_s=max(blocks, default=0.0),
        blocked_over_1_s=sum(block > 1 for block in blocks),
        loop_ran_s=ran,
        loop_waited_s=waited,
        failed=found.failed,
        logs_cut=_logs_cut(bench, stage, run),
    )


def _until_all_wait(bench: Bench, run: dagrun.Triggered, n: int, note: Callable[[str], None]) -> None:
    def all_wait() -> bool:
        pods = bench.task_pods.pods(lambda pod: pod.phase == "Running" and not pod.deleted, dag_id=run.dag_id)
        note(f"{len(pods)} of {n} pods run")
        return len(pods) == n and dagrun.deferred(bench.airflow, run) == n

    wait_for(f"{n} tasks that wait", all_wait, seconds=AT_MOST + n * AT_MOST_A_TASK)


def _end(bench: Bench, stage: Stage, run: dagrun.Triggered, n: int, note: Callable[[str], None]) -> dagrun.Run:
    stage.end()
    return dagrun.wait(bench.airflow, run, AT_MOST + n * AT_MOST_A_TASK, note)


def _logs_cut(bench: Bench, stage: Stage, run: dagrun.Triggered) -> int:
    stored = logs.stored(access.write(), run.dag_id, run.run_id)
    cut = 0
    for pod in bench.task_pods.pods(dag_id=run.dag_id):
        texts = [line.text for line in stored.get((int(pod.labels["map_index"]), 1), [])]
        # One more may have been printed than the stage is sure of.
        printed = max([stage.printed(pod), *logs.numbers(texts)])
        cut += not logs.completeness(texts, printed)
    return cut


def _blocks(since: datetime) -> list[float]:
    """Seconds of each block of the event loop since then, of those that Airflow logs."""
    words = ["logs", "-n", settings.NAMESPACE, "-l", "app.kubernetes.io/component=triggerer", "-c", "triggerer"]
    log = kubectl(*words, "--tail=-1", f"--since-time={since:%Y-%m-%dT%H:%M:%SZ}")
    return [float(found) for found in BLOCKED.findall(log)]


def _scheduled(bench: Bench) -> tuple[float, float]:
    """Seconds in which the triggerer's event loop has run, and in which it has waited for a processor."""
    for node in bench.nodes:
        if lines := printed(node, SCHEDULED):
            ran, waited, _ = lines[-1].split()
            return int(ran) / 1e9, int(waited) / 1e9
    raise Problem("no node runs the triggerer", "Is the cluster up?")
