"""Numbers from measurements: what each case costs, and whether that is as little as it has to be."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.bench.cases import BARE, CELERY, LAUNCHES, LOCAL, STOCK
from tests.bench.cgroups import PASSING
from tests.bench.measure import Measured
from tests.bench.waiting import Waiting

#: {part of the cost of a task: the first words of the parts of the cluster that it consists of}.
GROUPS = {
    "platform": ("airflow/",),
    "stand-ins": ("local/",),
    "control plane": ("kube-system/kube-apiserver", "kube-system/etcd", "kube-system/kube-scheduler"),
    "kubelet and containerd": ("node/",),
}
OTHER = "other pods of the cluster"


@dataclass(frozen=True)
class Figure:
    """A figure that is wanted. ``must`` and ``aim`` are limits from above, or from below where ``at_least``."""

    name: str
    unit: str
    must: float
    aim: float
    at_least: bool = False

    def verdict(self, measured: float | None) -> str:
        """``aim``, ``must``, ``missed``, or ``not measured``."""
        if measured is None:
            return "not measured"
        for name, limit in (("aim", self.aim), ("must", self.must)):
            if measured >= limit if self.at_least else measured <= limit:
                return name
        return "missed"


TOTAL_20 = Figure("20 tasks, against bare pods", "×", 1.45, 1.2)
STOCK_20 = Figure("20 tasks, times faster than stock", "×", 5, 7, at_least=True)
TOTAL_200 = Figure("200 tasks, against bare pods", "×", 1.5, 1.2)
FAILED_200 = Figure("200 tasks, failed", "", 0, 0)
TOTAL_1 = Figure("1 task, over a bare pod", "s", 3, 1.5)
CPU_200 = Figure("200 tasks, CPU a task beyond that of bare pods", "s", 0.7, 0.35)
#: Of many waiting tasks, which are measured by themselves (``scale.json``).
BLOCK = Figure("the longest block of the triggerer's loop", "s", 1, 1)
MEMORY_200 = Figure("200 waiting tasks, triggerer's memory a task", "MiB", 1, 0.1)


def results(measured: Iterable[Measured]) -> list[dict]:
    """One entry for each case: medians over the rounds, percentiles over all their tasks.

    ``cpu_s_per_task`` is what the platform's own pods used, the workers that it started included;
    ``cluster_cpu_s_per_task`` what all nodes used, the tasks' own pods included, and
    ``cpu_s_per_task_beyond_bare`` what of that bare pods would not have used. All are beyond the idle cluster's use.
    Bare pods that a case is compared with are those of the same release, which were launched in the same rounds:
    ``bare_total_s`` is their median.
    """
    cases: dict[tuple[str, int], list[Measured]] = {}
    for one in measured:
        cases.setdefault((one.launch, one.n), []).append(one)
    ordered = sorted(cases.items(), key=lambda item: (item[0][1], LAUNCHES.index(item[0][0])))
    return [_result(found, _beside(found, cases.get((BARE, n), []))) for (_, n), found in ordered]


def _beside(rounds: Sequence[Measured], bare: Sequence[Measured]) -> list[Measured]:
    releases = {one.release for one in rounds}
    return [one for one in bare if one.release in releases]


def _result(rounds: Sequence[Measured], bare: Sequence[Measured]) -> dict:
    n = rounds[0].n
    # What a task's pod itself uses: in the bare case no other pods come and go.
    own = _median(one.cpu_s[PASSING] / n for one in bare)
    groups = [_grouped(one, own) for one in rounds]
    cluster = _median(sum(one.cpu_s.values()) / n for one in rounds)
    floor = _median(sum(one.cpu_s.values()) / n for one in bare)
    return {
        "launch": rounds[0].launch,
        "n": n,
        "rounds": len(rounds),
        "total_s": _spread(one.total_s for one in rounds),
        "bare_total_s": _round(_median(one.total_s for one in bare)),
        "wall_s": _spread(one.wall_s for one in rounds),
        "launch_overhead_s": _percentiles(value for one in rounds for value in one.launch_s),
        "end_overhead_s": _percentiles(value for one in rounds for value in one.end_s),
        "cpu_s_per_task": _round(_median(one["platform"] + one["workers"] for one in groups)),
        "cluster_cpu_s_per_task": _round(cluster),
        "cpu_s_per_task_beyond_bare": None if floor is None else _round(cluster - floor),
        "cpu_s_per_task_by_group": {name: _round(_median(one[name] for one in groups)) for name in groups[0]},
        "cpu_s_per_task_by_part": _parts(rounds),
        "pods_per_task": _round(_median(one.pods / n for one in rounds)),
        "failed": sum(one.failed for one in rounds),
        "pods_of_others": sum(one.strangers for one in rounds),
        "without_container_times": sum(n - len(one.launch_s) for one in rounds),
    }


def _grouped(one: Measured, own: float | None) -> dict[str, float]:
    """Processor seconds a task by group; of pods that came and went, what no task's own pod used the workers did."""
    left = dict(one.cpu_s)
    passing = left.pop(PASSING) / one.n
    tasks = passing if not one.workers or own is None else min(own, passing)
    found = {}
    for name, firsts in GROUPS.items():
        mine = [part for part in left if part.startswith(firsts)]
        found[name] = sum(left.pop(part) for part in mine) / one.n
    return found | {OTHER: sum(left.values()) / one.n, "workers": passing - tasks, "tasks' own pods": tasks}


def _parts(rounds: Sequence[Measured]) -> dict[str, float]:
    names = {part for one in rounds for part in one.cpu_s}
    parts = {name: _median(one.cpu_s.get(name, 0.0) / one.n for one in rounds) or 0.0 for name in names}
    return {name: _round(value) for name, value in sorted(parts.items(), key=lambda item: -item[1])}


def wanted(results: Sequence[dict], waiting: Sequence[Waiting]) -> list[dict]:
    """Each figure that is wanted, as measured, with both launchers."""
    return [
        {
            "figure": figure.name,
            "launch": launch,
            "unit": figure.unit,
            "must": figure.must,
            "aim": figure.aim,
            "at_least": figure.at_least,
            "measured": _round(value),
            "verdict": figure.verdict(value),
        }
        for launch in (LOCAL, CELERY)
        for figure, value in _values(launch, results, waiting).items()
    ]


def _values(launch: str, results: Sequence[dict], waiting: Sequence[Waiting]) -> dict[Figure, float | None]:
    by_case = {(one["launch"], one["n"]): one for one in results}

    def total(way: str, n: int) -> float | None:
        return by_case[way, n]["total_s"]["median"] if (way, n) in by_case else None

    def bare(n: int) -> float | None:
        return by_case[launch, n]["bare_total_s"] if (launch, n) in by_case else None

    def ratio(above: float | None, below: float | None) -> float | None:
        return above / below if above is not None and below else None

    ours_200 = by_case.get((launch, 200), {})
    one, floor = total(launch, 1), bare(1)
    memory = [found.triggerer_mib_per_task for found in waiting if (found.launch, found.n) == (launch, 200)]
    return {
        TOTAL_20: ratio(total(launch, 20), bare(20)),
        STOCK_20: ratio(total(STOCK, 20), total(launch, 20)),
        TOTAL_200: ratio(total(launch, 200), bare(200)),
        FAILED_200: ours_200.get("failed"),
        TOTAL_1: one - floor if one is not None and floor is not None else None,
        CPU_200: ours_200.get("cpu_s_per_task_beyond_bare"),
        MEMORY_200: memory[0] if memory else None,
    }


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None


def _spread(values: Iterable[float]) -> dict[str, float]:
    found = list(values)
    return {"min": _round(min(found)), "median": _round(statistics.median(found)), "max": _round(max(found))}


def _percentiles(values: Iterable[float]) -> dict[str, float | None]:
    found = sorted(values)
    return {f"p{share}": _round(percentile(found, share)) for share in (50, 95)}


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The value that ``share`` percent of them do not exceed, by interpolation; None of nothing."""
    if not ordered:
        return None
    place = (len(ordered) - 1) * share / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def number(value: float | None, unit: str = "") -> str:
    """``value`` for a person, with as many digits as say something: 0.12, 1.23, 12.3, 123."""
    if value is None:
        return "–"
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}{'×' if unit == '×' else f' {unit}' if unit else ''}"
