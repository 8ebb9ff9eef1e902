"""What is known of one pod: gathered for its diagnosis, and kept in S3 beside the log of a try that failed.

The pod and its events are gone soon after. So they are saved before the pod may go, together with the verdict and the
last lines: ``attempt=1.evidence.json`` for programs, ``attempt=1.evidence.txt`` for people.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from airflow.providers.common.compat.sdk import conf

from airflow_platform import crowd, nodes, pod_status, workloads
from airflow_platform.cluster import ApiError, Cluster
from airflow_platform.diagnosis import Crowd, Verdict, diagnose
from airflow_platform.pod_events import PodEvents

log = structlog.get_logger("task")

#: The layout of the JSON.
VERSION = 1
#: Below the folder of logs: what a trigger or a phase has saved, and the process that uploads logs has not yet.
_SPOOL = ".evidence"
#: The end of a log's name after the try: of a phase, or of a trigger.
_TRY = re.compile(r"\.log(\.trigger\.[^/]*)?$")


class Evidence:
    """Of one pod: its events, the cluster's nodes, Kueue's queue, and what of the pod the watch leaves out.

    It is asked for where the pod is slow to start, and when it has failed; a task that does well costs nothing.
    ``mask`` is what masks a text about the pod.
    """

    def __init__(self, cluster: Cluster, namespace: str, base: str, mask: Callable[[str], str] = str) -> None:
        self.events = PodEvents(cluster, namespace, mask)
        self._cluster, self._namespace = cluster, namespace
        self._base = base
        self._nodes: list[nodes.Node] = []
        #: Since when the pod's node was given up, where it was asked for because of that.
        self._given_up: float | None = None
        self._crowd: Crowd | None = None
        self._workload: workloads.Workload | None = None
        #: What the watch leaves out does not change while the pod lives.
        self._spec: dict[str, Any] = {}

    async def gather(self, pod: dict[str, Any]) -> None:
        """Ask the cluster. What it does not answer is not known; that is no error."""
        await self.events.read(pod)
        if not _node(pod):
            await self._look_for_room(pod)
        elif pod_status.phase(pod) != "Pending":  # one that starts has its node, and the others are of no interest
            self._nodes = await nodes.of(self._cluster, since=pod_status.node_given_up_at(pod, self._base) or 0)

    async def look_around(self, pod: dict[str, Any]) -> None:
        """Ask the cluster for what is worth a word at once; it may be called often.

        Where a pod has no node: how the nodes are, and who waits as well, which all pods share. Where Kubernetes has
        given up the node of a pod that runs: whether that is silent, or only closed.
        """
        if pod_status.is_unscheduled(pod):
            await self._look_for_room(pod)
            return
        given_up = pod_status.node_given_up_at(pod, self._base)
        if given_up is not None and given_up != self._given_up:
            self._given_up = given_up
            await self.gather(pod)

    async def _look_for_room(self, pod: dict[str, Any]) -> None:
        if pod_status.held(pod):
            found = await workloads.of(self._cluster, self._namespace)
            self._workload = None if found is None else found.get(pod["metadata"]["uid"], workloads.Workload())
            return  # before it is let go, no node matters
        self._nodes = await nodes.of(self._cluster)
        self._crowd = await crowd.of(self._cluster, self._namespace)
        self._spec = self._spec or await self._whole_spec(pod)

    def diagnose(self, pod: dict[str, Any] | None, *, deleted: bool = False) -> Verdict | None:
        """What is wrong with the pod as it is now, by what was gathered until now; None while nothing is."""
        if pod is not None and self._spec:
            # What may change while it lives is what the watch has seen: gates are lifted.
            pod = {**pod, "spec": {**self._spec, "schedulingGates": None, **pod["spec"]}}
        try:
            return diagnose(
                pod,
                base=self._base,
                events=self.events.items,
                nodes=self._known_nodes(pod) if pod is not None else (),
                crowd=self._crowd,
                workload=self._workload,
                now=time.time(),
                deleted=deleted,
            )
        except ValueError as error:
            log.warning(f"The pod cannot be judged: {error}")
            return None

    def of(
        self, pod: dict[str, Any] | None, verdict: Verdict | None, last_lines: Iterable[str], reason: str = ""
    ) -> dict[str, Any]:
        """All of it as JSON; see `record`."""
        node = next(iter(self._own(pod)), None)
        return record(pod, verdict, self._namespace, self.events.items, node, last_lines, reason)

    def _known_nodes(self, pod: dict[str, Any]) -> Sequence[nodes.Node]:
        """All where the pod has none. Its own only where something is said of it: what was gathered may be old."""
        if not _node(pod):
            return self._nodes
        return self._own(pod) if pod_status.node_given_up_at(pod, self._base) is not None else ()

    def _own(self, pod: dict[str, Any] | None) -> list[nodes.Node]:
        """The pod's node, as far as it is known."""
        return [one for one in self._nodes if one["metadata"]["name"] == _node(pod)]

    async def _whole_spec(self, pod: dict[str, Any]) -> dict[str, Any]:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        try:
            return (await self._cluster.request("GET", path))["spec"]
        except (ApiError, aiohttp.ClientError, OSError):
            return {}


def record(
    pod: dict[str, Any] | None,
    verdict: Verdict | None,
    namespace: str,
    events: Iterable[dict[str, Any]] = (),
    node: dict[str, Any] | None = None,
    last_lines: Iterable[str] = (),
    reason: str = "",
) -> dict[str, Any]:
    """Evidence as JSON: the pod without its environment and volumes, which may hold secrets.

    Args:
        pod: as it was; as it was asked for, where it was not created; None where nobody has seen it.
        verdict: on the pod.
        namespace: of the pod.
        events: of the pod (core/v1).
        node: that it was on.
        last_lines: of its log.
        reason: why the task failed, as its log ends with it; empty: as the verdict says.
    """
    return {
        "version": VERSION,
        "reason": reason or (verdict.sentence if verdict else ""),
        "saved": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "namespace": namespace,
        "name": ((pod or {}).get("metadata") or {}).get("name"),
        "verdict": verdict.as_dict() if verdict else None,
        "pod": pod_status.described(pod) if pod else None,
        "containers": [
            {"name": one["name"], "image": one.get("imageID") or one.get("image"), "state": _state(one)}
            for one in (pod_status.statuses(pod) if pod else [])
        ],
        "events": list(events),
        "node": node,
        "last_lines": list(last_lines),
    }


def _node(pod: dict[str, Any] | None) -> str | None:
    return pod["spec"].get("nodeName") if pod else None


def _state(status: dict[str, Any]) -> str:
    """A container's state in a few words."""
    name, state = next(iter((status.get("state") or {}).items()), ("unknown", None))
    state = state or {}
    code = f" with exit code {state['exitCode']}" if "exitCode" in state else ""
    reason = f" ({state['reason']})" if state.get("reason") else ""
    return f"{name}{code}{reason}"


def save(instance_id: str, found: dict[str, Any]) -> None:
    """Keep evidence on disk, beside the logs, until these are uploaded; not where they are not.

    Args:
        instance_id: the task instance's, which is another one for each try.
        found: what `record` gives.

    Raises:
        OSError: it cannot be written.
    """
    if not conf.getboolean("logging", "remote_logging"):
        return
    folder = _logs() / _SPOOL
    folder.mkdir(parents=True, exist_ok=True)
    # Made aside: whoever looks finds all of it or nothing.
    new = folder / f"{instance_id}.new"
    new.write_text(json.dumps(found, indent=2))
    new.replace(folder / f"{instance_id}.json")


def keep(instance_id: str, found: dict[str, Any]) -> None:
    """As `save`; where it cannot be, the log says so, and the task's end is the same."""
    try:
        save(instance_id, found)
    except OSError as error:
        log.warning(f"The evidence of pod {found['name'] or 'that is gone'} could not be saved: {error}")


def reason(instance_id: str) -> str:
    """Why the task failed, by what was saved of that task instance; empty where nothing was."""
    try:
        return json.loads((_logs() / _SPOOL / f"{instance_id}.json").read_text()).get("reason", "")
    except (OSError, ValueError):
        return ""


def taken(instance_id: str, log_path: str) -> list[str]:
    """What was saved of that task instance, put beside its log, at ``log_path``, and named as that is."""
    base = _logs()
    saved = base / _SPOOL / f"{instance_id}.json"
    if not saved.is_file():
        return []
    beside = base / f"{_TRY.sub('', log_path)}.evidence.json"
    beside.parent.mkdir(parents=True, exist_ok=True)
    text = beside.with_suffix(".txt")
    text.write_text(as_text(json.loads(saved.read_text())))
    saved.replace(beside)
    return [one.relative_to(base).as_posix() for one in (beside, text)]


def upload(instance_id: str, log_path: str, instance: Any) -> None:
    """Upload what was saved of a task instance to where its log goes; not where nothing was.

    Args:
        instance_id: as `save` was given it.
        log_path: of the log, relative to the folder of logs.
        instance: the task instance, as Airflow's upload of its log takes it.
    """
    for path in taken(instance_id, log_path):
        # Here, not above: without S3, there may be no client for it.
        from airflow_platform.task_log import REMOTE_TASK_LOG

        REMOTE_TASK_LOG.upload(path, instance)


def address(instance: Any) -> str:
    """Where the evidence of a task instance's try is uploaded to, the text for people; empty where logs are not."""
    if not conf.getboolean("logging", "remote_logging"):
        return ""
    from airflow.utils.helpers import log_filename_template_renderer

    path = _TRY.sub("", log_filename_template_renderer()(ti=instance))
    return f"{conf.get('logging', 'remote_base_log_folder').rstrip('/')}/{path}.evidence.txt"


def _logs() -> Path:
    return Path(conf.get("logging", "base_log_folder"))


def as_text(found: dict[str, Any]) -> str:
    """Evidence for a person."""
    verdict, pod = found["verdict"] or {}, found["pod"] or {}
    lines = [found.get("reason") or verdict.get("sentence") or "Nothing is known of why.", ""]
    facts = {
        "cause": verdict.get("cause"),
        "whose turn": verdict.get("kind"),
        "certain": verdict.get("certain"),
        "would a retry help": verdict.get("retry_helps"),
        "pod": f"{found['namespace']}/{found['name']}",
        "node": (pod.get("spec") or {}).get("nodeName"),
        "saved": found["saved"],
    }
    lines += [f"{name}: {_word(value)}" for name, value in facts.items()]
    for status in found["containers"]:
        lines.append(f"container {status['name']}: {status['state']}; image {status['image']}")
    lines += ["", "Last lines:", *(f"  {line}" for line in found["last_lines"] or ["(none)"])]
    lines += ["", "Events:", *(f"  {_event(one)}" for one in found["events"] or [])]
    return "\n".join(lines) + "\n"


def _word(value: str | bool | None) -> str:
    return value if isinstance(value, str) else {True: "yes", False: "no", None: "unknown"}[value]


def _event(event: dict[str, Any]) -> str:
    when = event.get("lastTimestamp") or event.get("eventTime") or ""
    return f"{when} {event.get('reason')}: {event.get('message')}".strip()
