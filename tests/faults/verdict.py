"""Figures from evidence, and which of them must not be."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.faults.ledger import Entry
from tests.faults.logs import Completeness

#: Seconds within which 95 of 100 tasks have a trigger again.
TAKEOVER = 45
ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


@dataclass
class Verdict:
    """One scenario on one way to launch tasks. All numbers are of tasks unless they say otherwise."""

    scenario: str
    launch: str
    #: Tasks, and how often something was taken away.
    tasks: int
    faults: int
    #: Never ended, or ended well without having run to the end.
    lost: int = 0
    #: Ended as failed, though no task fails by itself.
    failed: int = 0
    #: Tries beyond the first.
    retries: int = 0
    #: Pods of tasks, and pods of workers that launched them.
    pods: int = 0
    worker_pods: int = 0
    #: More than one pod; begun more than once; ended by the platform while running.
    pods_twice: int = 0
    runs_twice: int = 0
    terminated: int = 0
    #: Whose callback was called more than once.
    callbacks_twice: int = 0
    #: Logs in S3 and in the API that are not each line once and in order; and how many lines.
    logs_incomplete: int = 0
    lines_missing: int = 0
    lines_twice: int = 0
    lines_disordered: int = 0
    #: Requests to the api-server that a client made all the while, and those that failed.
    requests: int = 0
    requests_failed: int = 0
    #: Waiting tasks at each kill, and seconds until their triggers ran again; None where none did.
    takeovers: int = 0
    takeover_p50_s: float | None = None
    takeover_p95_s: float | None = None
    takeover_max_s: float | None = None
    #: From the first trigger of a run to the end of the last.
    seconds: float = 0
    notes: list[str] = field(default_factory=list)
    date: str = ""
    image: str = ""

    def broken(self) -> list[str]:
        """What must not be."""
        wrong = {
            "tasks lost": self.lost,
            "tasks failed": self.failed,
            "tries used up": self.retries,
            "tasks with two pods": self.pods_twice,
            "tasks run twice": self.runs_twice,
            "callbacks called twice": self.callbacks_twice,
            "logs not complete": self.logs_incomplete,
            "requests failed": self.requests_failed,
        }
        found = [f"{count} {what}" for what, count in wrong.items() if count]
        if self.takeovers and (self.takeover_p95_s is None or self.takeover_p95_s > TAKEOVER):
            shown = "never" if self.takeover_p95_s is None else f"{self.takeover_p95_s:.0f} s"
            found.append(f"take-over p95 {shown}, over {TAKEOVER} s")
        return found


def count_tasks(verdict: Verdict, instances: Iterable[dict], entries: Sequence[Entry]) -> None:
    """Lost, failed and repeated tasks, from the API's task instances and the ledger."""
    begun = Counter((one.run_id, one.map_index) for one in entries if one.event == "start")
    finished = {(one.run_id, one.map_index) for one in entries if one.event == "end"}
    verdict.terminated = len({(one.run_id, one.map_index) for one in entries if one.event == "terminated"})
    verdict.runs_twice = sum(count > 1 for count in begun.values())
    for one in instances:
        task = (one["dag_run_id"], one["map_index"])
        verdict.retries += max(one["try_number"] - 1, 0)
        verdict.failed += one["state"] in ENDED and one["state"] != "success"
        verdict.lost += one["state"] not in ENDED or (one["state"] == "success" and task not in finished)


def count_pods(verdict: Verdict, tasks: Iterable[tuple[str, int]], workers: int, unknown: int) -> None:
    """Pods that were ever created.

    :param tasks: the run and map index of each pod that was watched.
    :param workers: pods of workers.
    :param unknown: pods that only Kubernetes' events tell of: each is one too many.
    """
    pods = Counter(tasks)
    verdict.pods = sum(pods.values()) + unknown
    verdict.pods_twice = sum(count > 1 for count in pods.values()) + unknown
    verdict.worker_pods = workers


def count_lines(verdict: Verdict, logs: Iterable[Sequence[Completeness]]) -> None:
    """Lines of logs: of each task, how it stands in S3 and in the API; a line counts where it is worse."""
    for log in logs:
        verdict.logs_incomplete += not all(log)
        verdict.lines_missing += max(one.missing for one in log)
        verdict.lines_twice += max(one.twice for one in log)
        verdict.lines_disordered += max(one.disordered for one in log)


def count_takeovers(verdict: Verdict, seconds: Sequence[float]) -> None:
    """Percentiles of the time without a trigger."""
    verdict.takeovers = len(seconds)
    verdict.takeover_p50_s = percentile(seconds, 50)
    verdict.takeover_p95_s = percentile(seconds, 95)
    verdict.takeover_max_s = percentile(seconds, 100)


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The smallest value that ``percent`` of 100 do not exceed; None where that is endless, or there are none."""
    if not values:
        return None
    found = sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]
    return None if math.isinf(found) else round(found, 1)
