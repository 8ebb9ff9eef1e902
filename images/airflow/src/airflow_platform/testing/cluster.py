"""A simulated Kubernetes cluster: its pods do what a test has said of them, in simulated time."""

from __future__ import annotations

import copy
import heapq
import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from airflow_platform import finisher, policy
from airflow_platform.testing.faults import Fault
from airflow_platform.testing.script import PodScript

#: Of airflow.providers.cncf.kubernetes.utils.xcom_sidecar.
XCOM_SIDECAR = "airflow-xcom-sidecar"

#: Seconds until a container that is asked to stop has stopped.
STOPS_AFTER = 1

#: What names a task instance: DAG, run, task, map index.
Key = tuple[str, str, str, int]


@dataclass(frozen=True)
class Refusal:
    """What the API server answers to a request for a pod that it does not create."""

    status: int
    reason: str
    message: str


def stamp(seconds: float, *, digits: bool = False) -> str:
    """A time as the API writes it: whole seconds, or nanoseconds in logs."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{moment.microsecond:06}000Z" if digits else "Z")


class Pod:
    """One pod, from its creation on.

    Attributes:
        object: as the API has it.
        dag_id, run_id, task_id, map_index, try_number: whose it is.
        created, started, stopped: seconds since the epoch; None: not yet. ``stopped`` is when its containers were at
            work for the last time, whatever Kubernetes knew of it.
        completed: whether its base container has ended with exit code 0.
        log: lines of its base container.
    """

    def __init__(self, cluster: Cluster, body: dict[str, Any], namespace: str) -> None:
        self._cluster = cluster
        self.object = body
        metadata = body["metadata"]
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        owner = json.loads(annotations.get(finisher.OWNER, "{}"))
        self.dag_id: str = owner.get("dag_id") or labels.get("dag_id", "")
        self.run_id: str = owner.get("run_id") or labels.get("run_id", "")
        self.task_id: str = owner.get("task_id") or labels.get("task_id", "")
        self.map_index: int = owner.get("map_index", int(labels.get("map_index", -1)))
        self.try_number = int(labels.get("try_number", 1))
        self.base: str = owner.get("base") or "base"
        self.pool: str | None = annotations.get(policy.POOL_ANNOTATION)
        self.created = cluster.now
        self.started: float | None = None
        self.stopped: float | None = None
        self.completed = False
        self.exit_code: int | None = None
        self.xcom: Any = None
        self.has_xcom = False
        self.lines: list[tuple[str, str]] = []
        self.events: list[dict[str, Any]] = []
        self.life: Iterator[float] = iter(())
        self.gone = False
        metadata.update(
            uid=str(uuid.UUID(int=next(cluster.numbers))), namespace=namespace, creationTimestamp=stamp(cluster.now)
        )
        body["status"] = {"phase": "Pending", "conditions": []}

    @property
    def key(self) -> Key:
        """What names its task instance."""
        return self.dag_id, self.run_id, self.task_id, self.map_index

    @property
    def name(self) -> str:
        """Of the pod."""
        return self.object["metadata"]["name"]

    @property
    def namespace(self) -> str:
        """Of the pod."""
        return self.object["metadata"]["namespace"]

    @property
    def uid(self) -> str:
        """Of the pod."""
        return self.object["metadata"]["uid"]

    @property
    def phase(self) -> str:
        """Of the pod's status."""
        return self.object["status"]["phase"]

    @property
    def node(self) -> str | None:
        """The name of its node."""
        return self.object["spec"].get("nodeName")

    @property
    def container(self) -> dict[str, Any]:
        """The base container, in the API's words."""
        return next(one for one in self.object["spec"]["containers"] if one["name"] == self.base)

    @property
    def image(self) -> str:
        """Of the base container."""
        return self.container["image"]

    @property
    def command(self) -> list[str]:
        """Of the base container, rendered."""
        return self.container.get("command") or []

    @property
    def arguments(self) -> list[str]:
        """Of the base container, rendered."""
        return self.container.get("args") or []

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the base container that have a value."""
        return {one["name"]: one["value"] for one in self.container.get("env") or [] if one.get("value") is not None}

    @property
    def limits(self) -> dict[str, str]:
        """Of the base container: the most that it may use, by resource."""
        return (self.container.get("resources") or {}).get("limits") or {}

    @property
    def secrets(self) -> dict[str, str]:
        """What it has of Secrets, as ``secret/key``, by variable; as ``secret``, by where a volume is mounted."""
        found = {}
        for one in self.container.get("env") or []:
            if ref := (one.get("valueFrom") or {}).get("secretKeyRef"):
                found[one["name"]] = f"{ref['name']}/{ref['key']}"
        for one in self.container.get("envFrom") or []:
            if ref := one.get("secretRef"):
                found[f"{one.get('prefix') or ''}*"] = ref["name"]
        volumes = {one["name"]: one["secret"]["secretName"] for one in self._volumes if one.get("secret")}
        for mount in self.container.get("volumeMounts") or []:
            if mount["name"] in volumes:
                found[mount["mountPath"]] = volumes[mount["name"]]
        return found

    @property
    def log(self) -> list[str]:
        """What it has printed."""
        return [text for _, text in self.lines]

    @property
    def _volumes(self) -> list[dict[str, Any]]:
        return self.object["spec"].get("volumes") or []

    def __repr__(self) -> str:
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        end = "" if self.exit_code is None else f", exit code {self.exit_code}"
        return f"<pod {self.name} of {self.task_id}{index}, try {self.try_number}: {self.phase}{end}>"

    # What happens to it; for `airflow_platform.testing.script`.

    def condition(self, kind: str, status: str, reason: str | None = None, message: str | None = None) -> None:
        """Set a condition of the pod's status."""
        conditions = self.object["status"]["conditions"]
        conditions[:] = [one for one in conditions if one["type"] != kind]
        found = {"type": kind, "status": status, "lastTransitionTime": stamp(self._cluster.now)}
        if reason:
            found |= {"reason": reason, "message": message or ""}
        conditions.append(found)
        self.changed()

    def event(self, kind: str, reason: str, message: str) -> None:
        """Note an event of the pod."""
        now = stamp(self._cluster.now)
        self.events.append(
            {
                "metadata": {"name": f"{self.name}.{len(self.events)}", "namespace": self.namespace},
                "involvedObject": {"kind": "Pod", "name": self.name, "uid": self.uid, "namespace": self.namespace},
                "type": kind,
                "reason": reason,
                "message": message,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
            }
        )

    def schedule(self, *, own_node: bool = False) -> bool:
        """Give it a node; whether one has the labels that it asks for."""
        nodes = self._cluster.nodes
        wanted = (self.object["spec"].get("nodeSelector") or {}).items()
        fitting = [name for name, node in nodes.items() if wanted <= node["metadata"]["labels"].items()]
        if not fitting:
            count = len(nodes)
            message = f"0/{count} nodes are available: {count} node(s) didn't match Pod's node affinity/selector."
            self.event("Warning", "FailedScheduling", message)
            self.condition("PodScheduled", "False", "Unschedulable", message)
            return False
        name = self._cluster.another_node(fitting[0]) if own_node else fitting[0]
        self.object["spec"]["nodeName"] = name
        self.object["status"]["startTime"] = stamp(self._cluster.now)
        self.event("Normal", "Scheduled", f"Successfully assigned {self.namespace}/{self.name} to {name}")
        self.condition("PodScheduled", "True")
        return True

    def waits(self, reason: str, message: str) -> None:
        """Have its containers wait."""
        self._set_states(lambda _: {"waiting": {"reason": reason, "message": message}})
        self.changed()

    def run(self) -> None:
        """Start its containers."""
        self.started = self._cluster.now
        status = self.object["status"]
        status["phase"] = "Running"
        now = stamp(self.started)
        init = self.object["spec"].get("initContainers") or []
        if init:
            ended = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
            status["initContainerStatuses"] = [self._status(one, {"terminated": ended}) for one in init]
        self._set_states(lambda _: {"running": {"startedAt": now}})
        self.event("Normal", "Started", "Container started")
        self.condition("Ready", "True")

    def prints(self, line: str) -> None:
        """Write a line to the log of the base container."""
        self.lines.append((stamp(self._cluster.now, digits=True), line))
        self._cluster.tell()

    def ends(self, code: int, reason: str | None = None, signal: int | None = None) -> None:
        """End its containers; a sidecar that keeps an XCom goes on."""
        self.exit_code, self.completed, self.stopped = code, code == 0, self._cluster.now
        now = stamp(self._cluster.now)
        ended: dict[str, Any] = {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "startedAt": stamp(self.started or self.created),
            "finishedAt": now,
        }
        if signal:
            ended["signal"] = signal
        kept = self._has_sidecar and "deletionTimestamp" not in self.object["metadata"]
        self._set_states(
            lambda name: (
                {"running": {"startedAt": ended["startedAt"]}}
                if kept and name == XCOM_SIDECAR
                else {"terminated": ended if name == self.base else {**ended, "exitCode": 0, "reason": "Completed"}}
            )
        )
        if not kept:
            self.object["status"]["phase"] = "Succeeded" if code == 0 else "Failed"
        self.changed()

    def sidecar_ends(self) -> None:
        """End the sidecar that keeps the XCom, and with it the pod."""
        if self._has_sidecar and self.phase == "Running" and self.exit_code is not None:
            self.ends_as(self.exit_code)

    def ends_as(self, code: int) -> None:
        """Give the pod its last phase, all its containers having ended."""
        for one in self.object["status"]["containerStatuses"]:
            if "running" in one["state"]:
                now = stamp(self._cluster.now)
                one["state"] = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": now}}
        self.object["status"]["phase"] = "Succeeded" if code == 0 else "Failed"
        self.changed()

    def vanishes(self) -> None:
        """Stop with its node, of which Kubernetes only concludes that the pod has failed."""
        self.stopped = self._cluster.now
        self.object["status"]["phase"] = "Failed"
        self.changed()

    def fails(self, reason: str, message: str) -> None:
        """Have the node say why the pod has failed."""
        self.object["status"] |= {"phase": "Failed", "reason": reason, "message": message}
        self.changed()

    def asked_to_stop(self, grace: int = 30) -> None:
        """Mark it as one that is being deleted."""
        self.object["metadata"] |= {
            "deletionTimestamp": stamp(self._cluster.now + grace),
            "deletionGracePeriodSeconds": grace,
        }
        self.changed()

    def removed(self) -> None:
        """Remove its object."""
        self._cluster.remove(self)

    def node_is(self, status: str) -> None:
        """Set what is known of whether its node is ready."""
        node = self._cluster.nodes[self.node or ""]
        ready = {"type": "Ready", "status": status, "lastTransitionTime": stamp(self._cluster.now)}
        if status == "Unknown":
            ready |= {"reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
        node["status"]["conditions"] = [ready]

    def node_is_removed(self) -> None:
        """Take its node out of the cluster."""
        del self._cluster.nodes[self.node or ""]

    def interrupts_watches(self) -> None:
        """End all watches, and forget what they would go on from."""
        self._cluster.compact()

    def restarts_triggerer(self) -> None:
        """End the triggerer, and start another one."""
        self._cluster.triggerer_restarts += 1

    def changed(self) -> None:
        """Tell those that watch."""
        self._cluster.publish("MODIFIED", self)

    @property
    def _has_sidecar(self) -> bool:
        return any(one["name"] == XCOM_SIDECAR for one in self.object["spec"]["containers"])

    def _set_states(self, state: Callable[[str], dict[str, Any]]) -> None:
        containers = self.object["spec"]["containers"]
        self.object["status"]["containerStatuses"] = [self._status(one, state(one["name"])) for one in containers]

    def _status(self, container: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
        found = {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0}
        if "waiting" not in state:
            found["containerID"] = f"containerd://{self.uid}"
        return {**found, "ready": "running" in state, "state": state}


class Cluster:
    """What a test says of pods, and reads of them.

    Attributes:
        pods: all that were created, in their order.
    """

    def __init__(self, nodes: dict[str, dict[str, str]]) -> None:
        self.numbers = itertools.count(1)
        self._node_labels = nodes
        self.reset(lambda: 0)

    def reset(self, now: Callable[[], float]) -> None:
        """Forget all pods, and what was said of them. ``now`` gives seconds since the epoch."""
        self._now = now
        self.pods: list[Pod] = []
        self.nodes = {name: _node(name, labels) for name, labels in self._node_labels.items()}
        self.quotas: dict[str, dict[str, Any]] = {}
        self.triggerer_restarts = 0
        self.version = 1
        self.history: list[tuple[int, str, str, dict[str, str], bytes]] = []
        self.compacted = 0
        self._there: dict[tuple[str, str], Pod] = {}
        self._scripts: list[PodScript] = []
        self._begun: dict[Key, PodScript] = {}
        #: What befalls the first pod of each instance of a task, and of which instances it has.
        self.faults: dict[str, Fault] = {}
        self.befallen: set[Key] = set()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        #: Timers by which nothing happens to a pod.
        self._idle: set[int] = set()
        self._listeners: set[Callable[[], None]] = set()

    def pod(self, task_id: str, *, map_index: int | None = None, try_number: int | None = None) -> PodScript:
        """Say what the next pod of a task does; said again, the one after it. All others succeed.

        Args:
            task_id: of the task.
            map_index: of a mapped task's instance; None: each instance's next pod does so.
            try_number: only pods of that try; None: of any.
        """
        return self._say(PodScript(task_id, map_index, try_number, every=False))

    def every_pod(self, task_id: str, *, map_index: int | None = None, try_number: int | None = None) -> PodScript:
        """Say what all further pods of a task do, those of which `pod` says something excepted. Arguments as there."""
        return self._say(PodScript(task_id, map_index, try_number, every=True))

    def _say(self, script: PodScript) -> PodScript:
        self._scripts.append(script)
        return script

    def say_again(self) -> None:
        """What was said of pods is said anew, of those to come."""
        for script in self._scripts:
            script.renew()

    # For `airflow_platform.testing.kubernetes_api`, in whose thread all of it happens.

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now()

    @property
    def next_moment(self) -> float | None:
        """When something is to happen next."""
        return self._timers[0][0] if self._timers else None

    def there(self, namespace: str, name: str) -> Pod | None:
        """The pod of that name."""
        return self._there.get((namespace, name))

    def all_there(self, namespace: str) -> list[Pod]:
        """The pods of a namespace that are there."""
        return [pod for (one, _), pod in sorted(self._there.items()) if one == namespace]

    def create(self, body: dict[str, Any], namespace: str) -> Pod | Refusal:
        """Create a pod, unless its name is taken or its script has it refused."""
        pod = Pod(self, copy.deepcopy(body), namespace)
        if (namespace, pod.name) in self._there:
            return Refusal(409, "AlreadyExists", f'pods "{pod.name}" already exists')
        script = self._script(pod)
        if refusal := script.refuses(self, pod):
            return refusal
        self._begun.pop(pod.key, None)
        self.pods.append(pod)
        self._there[namespace, pod.name] = pod
        self.publish("ADDED", pod)
        pod.life = script.life(pod)
        self._live(pod)
        return pod

    def delete(self, pod: Pod, grace: int | None) -> None:
        """Delete a pod: one that runs is asked to stop, and goes once it has."""
        if "deletionTimestamp" in pod.object["metadata"]:
            return
        pod.asked_to_stop(30 if grace is None else grace)
        if pod.phase != "Running":
            pod.life = iter(())
            self.remove(pod)
        else:
            pod.life = _stop(pod)
            self._live(pod)

    def remove(self, pod: Pod) -> None:
        """Remove a pod's object."""
        if self._there.pop((pod.namespace, pod.name), None):
            pod.gone = True
            pod.life = iter(())
            if pod.started is not None and pod.stopped is None:
                pod.stopped = self.now
            self.publish("DELETED", pod)

    def publish(self, kind: str, pod: Pod) -> None:
        """Tell those that watch."""
        if pod.name and (pod.namespace, pod.name) not in self._there and kind != "DELETED":
            return
        self.version += 1
        pod.object["metadata"]["resourceVersion"] = str(self.version)
        line = json.dumps({"type": kind, "object": {"apiVersion": "v1", "kind": "Pod", **pod.object}}).encode() + b"\n"
        labels = dict(pod.object["metadata"].get("labels") or {})
        self.history.append((self.version, pod.namespace, kind, labels, line))
        self.tell()

    def compact(self) -> None:
        """End all watches; none may go on from before now."""
        self.version += 1
        self.compacted = self.version
        self.tell()

    @property
    def has_plans(self) -> bool:
        """Whether anything is to happen to a pod without anyone's doing."""
        return len(self._timers) > len(self._idle)

    def at(self, moment: float, call: Callable[[], None], *, idle: bool = False) -> None:
        """Have something happen at a time; ``idle``: not to a pod."""
        number = next(self.numbers)
        heapq.heappush(self._timers, (moment, number, call))
        if idle:
            self._idle.add(number)

    def listen(self, call: Callable[[], None]) -> Callable[[], None]:
        """Be told of every change, until what is returned is called."""
        self._listeners.add(call)
        return lambda: self._listeners.discard(call)

    def tell(self) -> None:
        """Tell who listens."""
        for call in list(self._listeners):
            call()

    def pass_until(self, moment: float) -> None:
        """Do what was to happen until then."""
        while self._timers and self._timers[0][0] <= moment:
            _, number, call = heapq.heappop(self._timers)
            self._idle.discard(number)
            call()

    def fill_quota(self, namespace: str, seconds: float) -> None:
        """Have a namespace's quota full for a while."""
        hard, used = {"pods": "10"}, {"pods": "10"}
        metadata = {"name": "full", "namespace": namespace}
        self.quotas[namespace] = {"metadata": metadata, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}}
        self.at(self.now + seconds, lambda: used.update(pods="0"))

    def another_node(self, like: str) -> str:
        """Add a node with the labels of another one."""
        stem = like.rpartition("-")[0]
        name = f"{stem}-{len([one for one in self.nodes if one.rpartition('-')[0] == stem]) + 1}"
        self.nodes[name] = _node(name, self.nodes[like]["metadata"]["labels"])
        return name

    def _script(self, pod: Pod) -> PodScript:
        # One that was refused is asked for again, and is the same pod.
        if pod.key not in self._begun:
            found = (one for one in sorted(self._scripts, key=lambda one: one.every) if one.fits(pod))
            script = next(found, None) or PodScript(pod.task_id, None, None, every=True)
            fault = None if pod.key in self.befallen else self.faults.get(pod.task_id)
            if fault:
                self.befallen.add(pod.key)
            if not (fault and fault.ends):
                script.take(pod)
            self._begun[pod.key] = script.under(fault) if fault else script
        return self._begun[pod.key]

    def _live(self, pod: Pod) -> None:
        life = pod.life

        def go_on() -> None:
            if pod.life is not life:
                return  # something else has come up
            if (seconds := next(life, None)) is not None:
                self.at(self.now + seconds, go_on)

        go_on()


def _stop(pod: Pod) -> Iterator[float]:
    yield STOPS_AFTER
    if pod.exit_code is None:
        pod.ends(143)
    else:
        pod.ends_as(pod.exit_code)
    pod.removed()


def _node(name: str, labels: dict[str, str]) -> dict[str, Any]:
    room = {"cpu": "64", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti"}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "spec": {},
        "status": {"allocatable": room, "capacity": room, "conditions": [ready]},
    }
