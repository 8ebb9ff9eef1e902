"""The pods as they were when their fault was told: cases of the diagnosis' own tests, and its verdict on them.

What is another at each run (names, ids, addresses, times) is replaced by what is not; times keep their distances.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from local.cluster import settings
from tests.causes.cases import CASES
from tests.causes.sight import Json, Sight
from tests.causes.trial import Task, seconds

# Pure Python, which needs nothing of Airflow's.
sys.path.append(str(settings.REPO / "images" / "airflow" / "src"))
from airflow_platform import pod_status
from airflow_platform.diagnosis import Refusal, Verdict, diagnose

FOLDER = settings.REPO / "images" / "airflow" / "tests" / "diagnosis" / "recorded"
#: Beside the cases: the nodes, for pods that have none.
NODES = "nodes.yaml"

_START = datetime(2026, 1, 1, tzinfo=timezone.utc)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{5})?\b")
_POD = re.compile(r"\btask-[0-9a-f]{8}\b")
#: Of the API's answer to a launch that is refused, as the log has it.
_SAID = re.compile(r"The API server said(?:: (?P<status>\d+) (?P<reason>\S*)| nothing): (?P<message>.*)", re.DOTALL)
_SAID_OF_VERDICT = ("cause", "kind", "object", "container", "exit_code", "signal", "final", "retry_helps", "certain")


def of(task: Task, nodes: list[Json]) -> Json | None:
    """The case of a task of the platform: its pod, events and verdict; None where nothing was seen that explains it.

    Where the task failed, the verdict has to be the one that was saved; else its sentence has to name the fault.
    """
    saved = (task.evidence or {}).get("verdict")
    told = task.told_line.time if task.told_line else None
    now = seconds(task.evidence["saved"]) if task.evidence else told
    if now is None:
        return None
    for given in _candidates(task, now):
        clean = _scrubbed(given)
        verdict = _judged(clean, _nodes(nodes))
        if verdict is None:
            continue
        if (saved and saved["cause"] == verdict.cause) or (not saved and task.case.named_in(verdict.sentence)):
            return {
                **clean,
                "verdict": {key: getattr(verdict, key) for key in _SAID_OF_VERDICT},
                "sentence": verdict.sentence,
            }
    return None


def save(cases: dict[str, Json], nodes: list[Json], versions: str, folder: Path = FOLDER) -> None:
    """Write a file for each case.

    :param cases: {name of the fault: what `of` gave}.
    :param versions: of Kubernetes and containerd.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, case in cases.items():
        text = _yaml({"about": f"{CASES[name].what}; {versions}", **case})
        (folder / f"{name}.yaml").write_text(text)
    (folder / NODES).write_text(_yaml(_nodes(nodes)))


def _candidates(task: Task, now: float) -> Iterator[Json]:
    """What was known of the task's pod, the newest first."""
    if refusal := _refusal(task):
        pod = (task.evidence or {}).get("pod") or task.asked_for or _named(task)
        yield {"now": _iso(now), "pod": _pod(pod), "refusal": refusal}
        return
    sight = task.sight
    for pod in reversed(sight.pods):
        for change, state in reversed(list(zip(pod.events, pod.states, strict=True))):
            # The watch of this test may be a moment later than the triggerer's.
            if change.received > now + 1:
                continue
            found = {"now": _iso(now), "pod": _pod(state), "events": _events(sight, pod.uid, now)}
            # Where its node was given up, the triggerer has looked at that.
            if pod_status.node_given_up_at(state, "base") is not None:
                found["nodes"] = _nodes(sight.node(state["spec"]["nodeName"], now))
            yield {**found, "deleted": True} if change.type == "DELETED" else found


def _refusal(task: Task) -> Json | None:
    if task.refusal:
        return task.refusal
    said = next((found for line in task.log if (found := _SAID.fullmatch(line.text))), None)
    return {**said.groupdict(default=""), "status": int(said["status"] or 0)} if said else None


def _named(task: Task) -> Json:
    """Of a pod that was never created, and of which nothing was kept: its name, as the log has it."""
    name = next(found[0] for line in task.log if (found := _POD.search(line.text)))
    return {"metadata": {"name": name, "namespace": settings.TASK_NAMESPACE}, "spec": {"containers": []}}


def _events(sight: Sight, uid: str, now: float) -> list[Json]:
    """The pod's events as they were then."""
    newest: dict[str, Json] = {}
    for one in sight.events:
        if one.event["involvedObject"].get("uid") == uid and one.received <= now + 1:
            newest[one.event["metadata"]["uid"]] = one.event
    keys = ("type", "reason", "message", "firstTimestamp", "lastTimestamp", "eventTime", "series", "count")
    return [{key: one[key] for key in keys if one.get(key) is not None} for one in newest.values()]


def _pod(state: Json) -> Json:
    """The pod without what says nothing of its fate."""
    metadata = state["metadata"]
    keys = ("name", "namespace", "uid", "generation", "creationTimestamp")
    keys += ("deletionTimestamp", "deletionGracePeriodSeconds")
    return {
        "metadata": {key: metadata[key] for key in keys if metadata.get(key) is not None},
        "spec": state["spec"],
        "status": state.get("status", {}),
    }


def _nodes(nodes: list[Json]) -> list[Json]:
    """The nodes with what a diagnosis reads."""
    return [
        {
            "metadata": {"name": one["metadata"]["name"], "labels": one["metadata"]["labels"]},
            "spec": {key: one["spec"][key] for key in ("taints", "unschedulable") if one["spec"].get(key)},
            "status": {
                "allocatable": one["status"].get("allocatable") or {},
                "conditions": [
                    {"type": each["type"], "status": each["status"]} for each in one["status"].get("conditions") or []
                ],
            },
        }
        for one in nodes
    ]


def _judged(case: Json, nodes: list[Json]) -> Verdict | None:
    return diagnose(
        case["pod"],
        events=case.get("events", ()),
        nodes=case.get("nodes", ()) if case["pod"]["spec"].get("nodeName") else nodes,
        refusal=Refusal(**case["refusal"]) if case.get("refusal") else None,
        now=datetime.fromisoformat(case["now"]).timestamp(),
        deleted=case.get("deleted", False),
    )


def _scrubbed(case: Json) -> Json:
    """The same at each run."""
    created = case["pod"]["metadata"].get("creationTimestamp") or case["now"]
    shift = _START - datetime.fromisoformat(created)
    known: dict[str, str] = {}
    number = count(1)

    def same(form: str, text: str) -> str:
        if text not in known:
            known[text] = form.format(next(number))
        return known[text]

    def clean(text: str) -> str:
        text = _TIME.sub(lambda found: _moved(found[0], shift), text)
        text = _UID.sub(lambda found: same("00000000-0000-4000-8000-{:012d}", found[0]), text)
        text = re.sub(r"(?<!sha256:)\b[0-9a-f]{64}\b", lambda found: same("{:064d}", found[0]), text)
        text = _ADDRESS.sub(lambda found: "10.0.0.1:40000" if ":" in found[0] else "10.0.0.1", text)
        return _POD.sub("task-00000000", text)

    return json.loads(json.dumps(case), object_hook=lambda each: {key: _each(each[key], clean) for key in each})


def _each(value: Any, clean: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    return [clean(one) if isinstance(one, str) else one for one in value] if isinstance(value, list) else value


def _moved(text: str, shift: timedelta) -> str:
    at = datetime.fromisoformat(text) + shift
    return f"{at.strftime('%Y-%m-%dT%H:%M:%S')}{f'.{at.microsecond:06d}' if at.microsecond else ''}Z"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=116)
