"""What a person reads: ``README.md`` and its plots, made from the results and the words of ``page.md``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.bench import plots
from tests.bench.figures import BLOCK, number

WORDS = Path(__file__).with_suffix(".md")
NAMES = {
    "bare": "pods created by a client, with no platform at all: the floor",
    "stock": "KubernetesPodOperator on KubernetesExecutor, as Airflow comes, tuned as this chart tunes it",
    "stock-deferrable": "the same with `deferrable=True`",
    "local": "this platform, the launcher in the scheduler's pod (`launcher.kind: local`)",
    "celery": "this platform, launchers of their own (`launcher.kind: celery`)",
}
VERDICTS = {"aim": "aim met", "must": "must met, aim not", "missed": "**missed**", "not measured": "not measured"}
#: Parts of the cluster that use less than this are left out of the profile; processor seconds a task.
LEAST = 0.005


def write(folder: Path) -> None:
    """``README.md`` and plots from ``latest.json`` and, where it is there, ``scale.json`` of the folder.

    :raises FileNotFoundError: there is no ``latest.json``.
    """
    found = json.loads((folder / "latest.json").read_text())
    for name, draw in (("total", plots.totals), ("overhead", plots.overheads), ("processor", plots.processor)):
        (folder / f"{name}.svg").write_text(draw(found["results"]))
    scale = folder / "scale.json"
    at_scale = json.loads(scale.read_text()) if scale.exists() else None
    if at_scale:
        (folder / "scale.svg").write_text(plots.curve(at_scale["points"]))
    words = WORDS.read_text().format(
        launches=_launches(found["results"]),
        date=found["date"],
        rounds=found["rounds"],
        # Of whoever measured, on what was not as it should be.
        remark=f"\n\n{found['remark']}" if "remark" in found else "",
        machine=_machine(found["machine"]),
        versions=_versions(found["versions"]),
        figures=_figures(found["figures"]),
        results=_results(found["results"]),
        waiting=_waiting(found["waiting"]),
        profile=_profile(found["results"]),
        scale=_scale(at_scale) if at_scale else "Not measured yet.",
    )
    (folder / "README.md").write_text(words)


def _launches(results: Sequence[Mapping]) -> str:
    there = dict.fromkeys(one["launch"] for one in results)
    return "\n".join(f"- **{name}**: {words}" for name, words in NAMES.items() if name in there)


def _machine(found: Mapping) -> str:
    return (
        f"{found['cores']} cores ({found['processor']}), {found['memory_gib']} GiB, kernel {found['kernel']}, "
        f"cgroup v{found['cgroup']}, load {found['load_before']} before it began"
    )


def _versions(found: Mapping) -> str:
    return (
        f"kind with {found['nodes']} nodes, Kubernetes {found['kubernetes']}, containerd {found['containerd']}; "
        f"Airflow {found['airflow']}, cncf-kubernetes {found['provider']}; commit `{found['commit']}`"
    )


def _figures(figures: Sequence[Mapping]) -> str:
    launches = list(dict.fromkeys(one["launch"] for one in figures))
    by_name: dict[str, dict[str, Mapping]] = {}
    for one in figures:
        by_name.setdefault(one["figure"], {})[one["launch"]] = one
    rows = []
    for name, found in by_name.items():
        one = found[launches[0]]
        limits = [f"{'≥' if one['at_least'] else '≤'} {number(one[key], one['unit'])}" for key in ("must", "aim")]
        rows.append((name, *limits, *(_judged(found[launch]) for launch in launches)))
    return _table(["figure", "must", "aim", *launches], rows)


def _judged(one: Mapping) -> str:
    verdict = VERDICTS[one["verdict"]]
    return verdict if one["measured"] is None else f"{number(one['measured'], one['unit'])}: {verdict}"


def _results(results: Sequence[Mapping]) -> str:
    heads = ["tasks", "launch", "total", "launch overhead", "end overhead", "CPU: platform's pods", "CPU: beyond bare"]
    heads += ["CPU: whole cluster", "pods", "failed"]
    rows = [
        (
            one["n"],
            one["launch"],
            _spread(one["total_s"]),
            _percentiles(one["launch_overhead_s"]),
            _percentiles(one["end_overhead_s"]),
            number(one["cpu_s_per_task"]),
            number(one["cpu_s_per_task_beyond_bare"]),
            number(one["cluster_cpu_s_per_task"]),
            number(one["pods_per_task"]),
            f"{one['failed']} of {one['n'] * one['rounds']}",
        )
        for one in results
    ]
    return _table(heads, rows)


def _waiting(waiting: Sequence[Mapping]) -> str:
    heads = ["launch", "waiting tasks", "triggerer, MiB a task", "launcher, MiB a task"]
    heads += ["triggerer with none, MiB", "launcher with none, MiB"]
    keys = ("triggerer_mib_per_task", "launcher_mib_per_task", "triggerer_idle_mib", "launcher_idle_mib")
    return _table(heads, [(one["launch"], one["n"], *(number(one[key]) for key in keys)) for one in waiting])


def _profile(results: Sequence[Mapping]) -> str:
    largest: dict[str, Mapping] = {}
    for one in results:
        if one["n"] >= largest.get(one["launch"], one)["n"]:
            largest[one["launch"]] = one
    by_part = [one["cpu_s_per_task_by_part"] for one in largest.values()]
    parts = {part: [used.get(part, 0.0) for used in by_part] for part in {part for used in by_part for part in used}}
    ordered = sorted(parts.items(), key=lambda item: -max(item[1]))
    rows = [(part, *map(number, used)) for part, used in ordered if max(used) >= LEAST]
    return _table(["part", *(f"{launch}, {one['n']}" for launch, one in largest.items())], rows)


def _scale(found: Mapping) -> str:
    heads = ["waiting tasks", "until all wait, s", "until all ended, s", "triggerer: cores while all wait"]
    heads += ["triggerer: MiB beyond none", "triggerer: CPU s a task", "longest block of its loop, s"]
    heads += ["while they end its loop ran, s", "and waited for a processor, s", "failed", "logs cut"]
    keys = ("wait_s", "end_s", "triggerer_cores", "triggerer_mib", "triggerer_cpu_s_per_task", "longest_block_s")
    keys += ("loop_ran_s", "loop_waited_s")
    rows = [(one["n"], *(number(one[key]) for key in keys), one["failed"], one["logs_cut"]) for one in found["points"]]
    words = (
        f"Pods without a kubelet, which a stage of the benchmark moves through their phases ({found['date']}): what "
        "Airflow and the platform do is real, and what the API server does for them. All pods end at once, and the "
        "machine has no processor to spare then: a block is mostly a wait for one, and the triggerer's CPU request "
        "(200m here) says how much of them it gets."
    )
    longest = max(found["points"], key=lambda one: one["n"])
    verdict = BLOCK.verdict(longest["longest_block_s"])
    words += (
        f" Wanted is that {longest['n']} tasks never block it for over {BLOCK.must} s: "
        f"{number(longest['longest_block_s'])} s, {'**missed**' if verdict == 'missed' else 'met'}."
    )
    words += f" {found['remark']}" if "remark" in found else ""
    return f"{words}\n\n{_table(heads, rows)}\n\n![The triggerer's cost](scale.svg)"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _spread(found: Mapping) -> str:
    return f"**{number(found['median'])}** ({number(found['min'])} – {number(found['max'])})"


def _percentiles(found: Mapping) -> str:
    return f"{number(found['p50'])} / {number(found['p95'])}"
