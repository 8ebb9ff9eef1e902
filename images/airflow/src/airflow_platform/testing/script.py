"""What a test says of a pod, as a sentence: ``cluster.pod("train").prints("epoch 1").out_of_memory(after=60)``.

A script is played by a generator: between two steps it gives the seconds until the next. The words that Kubernetes
has for each fault (conditions, reasons, messages) are those of Kubernetes 1.36.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_platform.testing.cluster import Cluster, Pod, Refusal
    from airflow_platform.testing.faults import Fault

#: Seconds that a container's start takes, and how long one works of which nothing else is said.
STARTS_AFTER, WORKS_FOR = 1, 10

#: Seconds until Kubernetes takes a silent node for lost, and then until it deletes the pods there
#: (node_lifecycle_controller.go, ``nodeMonitorGracePeriod``; DefaultTolerationSeconds).
SILENT, TOLERATED = 50, 300

_Steps = Callable[["Pod"], Iterator[float]]


class PodScript:
    """What one pod does, or all of them of a task. Each method adds to it and returns it; without any, it succeeds."""

    def __init__(self, task_id: str, map_index: int | None, try_number: int | None, *, every: bool) -> None:
        self.task_id, self.map_index, self.try_number, self.every = task_id, map_index, try_number, every
        self._taken: set[Any] = set()
        self._refusals: list[Callable[[Cluster, Pod], Refusal | None]] = []
        self._before: list[_Steps] = []
        self._lines: list[str] = []
        self._xcom: list[Any] = []
        self._own_node = False
        self._end: _Steps = _succeeds(WORKS_FOR)

    # While it works.

    def prints(self, *lines: str) -> PodScript:
        """Lines of its log, as soon as it runs."""
        self._lines += lines
        return self

    def returns_xcom(self, value: Any) -> PodScript:
        """What it writes to ``/airflow/xcom/return.json``; a task with ``do_xcom_push`` has it as its XCom."""
        self._xcom = [value]
        return self

    # Its end.

    def succeeds(self, after: float = WORKS_FOR) -> PodScript:
        """Ends with exit code 0, ``after`` seconds of work."""
        return self._ends(_succeeds(after))

    def exits(self, code: int, after: float = WORKS_FOR) -> PodScript:
        """Ends with an exit code."""
        return self._ends(_exits(code, after))

    def out_of_memory(self, after: float = WORKS_FOR) -> PodScript:
        """Is killed by the kernel as it uses more memory than its limit."""
        return self._ends(_out_of_memory(after))

    def runs_forever(self) -> PodScript:
        """Never ends by itself."""
        return self._ends(_runs_forever)

    def is_drained(self, after: float = WORKS_FOR) -> PodScript:
        """Is evicted by the eviction API, as its node is emptied."""
        return self._ends(_taken("EvictionByEvictionAPI", "Eviction API: evicting", after))

    def is_preempted(self, after: float = WORKS_FOR) -> PodScript:
        """Makes room for a pod of higher priority."""
        message = "default-scheduler: preempting to accommodate a higher priority pod"
        return self._ends(_taken("PreemptionByScheduler", message, after))

    def is_evicted(self, after: float = WORKS_FOR) -> PodScript:
        """Is stopped by its node, which runs out of disk space through no fault of the pod."""
        message = "The node was low on resource: ephemeral-storage. "
        return self._ends(_stopped_by_kubelet(after, 137, "Evicted", message))

    def loses_its_node(self, after: float = WORKS_FOR) -> PodScript:
        """Runs on while its node is silent, until the node answers again and stops it."""
        self._own_node = True
        return self._ends(_loses_node(after, removed=False))

    def loses_its_node_for_good(self, after: float = WORKS_FOR) -> PodScript:
        """Ends with its node, which is removed from the cluster while it is silent."""
        self._own_node = True
        return self._ends(_loses_node(after, removed=True))

    def is_shut_down(self, after: float = WORKS_FOR) -> PodScript:
        """Is stopped as its node shuts down."""
        message = "Pod was terminated in response to imminent node shutdown."
        return self._ends(_stopped_by_kubelet(after, 143, "Terminated", message))

    def is_deleted(self, after: float = WORKS_FOR) -> PodScript:
        """Is deleted by somebody while it works."""
        return self._ends(_deleted(after))

    # Before it works.

    def is_deleted_before_it_starts(self) -> PodScript:
        """Is deleted by somebody before it has a node."""
        return self._begins(_deleted_before_start)

    def waits_for_node(self, seconds: float = 60) -> PodScript:
        """Has no node for so long, as all are full."""
        return self._begins(_no_room(seconds))

    def cannot_pull(self) -> PodScript:
        """Asks for an image that its registry does not have."""
        return self._begins(_no_image)

    def waits_for_registry(self, seconds: float = 60) -> PodScript:
        """Cannot pull its image for so long, as the registry is not to be reached."""
        return self._begins(_no_registry(seconds))

    def is_refused(self, times: int = 2, status: int = 503, reason: str = "ServiceUnavailable") -> PodScript:
        """Is not created at first, as the API server is busy or away."""
        asked: Counter[Any] = Counter()

        def refuse(_: Cluster, pod: Pod) -> Refusal | None:
            from airflow_platform.testing.cluster import Refusal

            asked[pod.key] += 1
            message = "the server is currently unable to handle the request"
            return Refusal(status, reason, message) if asked[pod.key] <= times else None

        self._refusals.append(refuse)
        return self

    def waits_for_quota(self, seconds: float = 60) -> PodScript:
        """Is not created for so long, as its namespace's ResourceQuota is full."""
        until: dict[Any, float] = {}

        def refuse(cluster: Cluster, pod: Pod) -> Refusal | None:
            from airflow_platform.testing.cluster import Refusal

            if pod.key not in until:
                until[pod.key] = cluster.now + seconds
                cluster.fill_quota(pod.namespace, seconds)
            message = (
                f'pods "{pod.name}" is forbidden: exceeded quota: full, requested: pods=1, used: pods=10, '
                "limited: pods=10"
            )
            return Refusal(403, "Forbidden", message) if cluster.now < until[pod.key] else None

        self._refusals.append(refuse)
        return self

    # Around it.

    def loses_its_watch(self) -> PodScript:
        """Ends while nobody watches: the API server ends all watches, and has forgotten where they were."""
        return self._ends(_first(lambda pod: pod.interrupts_watches(), self._end))

    def loses_its_triggerer(self) -> PodScript:
        """Ends while no triggerer runs; another one is started then."""
        return self._ends(_first(lambda pod: pod.restarts_triggerer(), self._end))

    # For the cluster.

    def fits(self, pod: Pod) -> bool:
        """Whether this is said of that pod, which is new."""
        return (
            pod.task_id == self.task_id
            and self.map_index in (None, pod.map_index)
            and self.try_number in (None, pod.try_number)
            and (pod.dag_id, pod.map_index) not in self._taken
        )

    def take(self, pod: Pod) -> None:
        """It is that pod's, and of no later one of the task, or of that instance of it, unless it is of every pod."""
        if not self.every:
            self._taken.add((pod.dag_id, pod.map_index))

    def renew(self) -> None:
        """It is no pod's."""
        self._taken.clear()

    def under(self, fault: Fault) -> PodScript:
        """The same with a fault."""
        script = copy.copy(self)
        script._refusals, script._before = list(self._refusals), list(self._before)
        return fault.befalls(script)

    def refuses(self, cluster: Cluster, pod: Pod) -> Refusal | None:
        """The API server's answer, where it does not create the pod."""
        return next((answer for refuse in self._refusals if (answer := refuse(cluster, pod))), None)

    def life(self, pod: Pod) -> Iterator[float]:
        """Play it; gives the seconds until each next step."""
        pod.has_xcom, pod.xcom = bool(self._xcom), next(iter(self._xcom), None)
        for steps in self._before:
            yield from steps(pod)
        if pod.node is None and not pod.schedule(own_node=self._own_node):
            return
        yield STARTS_AFTER
        pod.run()
        for line in self._lines:
            pod.prints(line)
        yield from self._end(pod)

    def _ends(self, steps: _Steps) -> PodScript:
        self._end = steps
        return self

    def _begins(self, steps: _Steps) -> PodScript:
        self._before.append(steps)
        return self


def _succeeds(after: float) -> _Steps:
    return _exits(0, after)


def _exits(code: int, after: float) -> _Steps:
    def steps(pod: Pod) -> Iterator[float]:
        yield after
        pod.ends(code)

    return steps


def _out_of_memory(after: float) -> _Steps:
    def steps(pod: Pod) -> Iterator[float]:
        yield after
        pod.ends(137, "OOMKilled")

    return steps


def _runs_forever(_: Pod) -> Iterator[float]:
    yield from ()


def _stops(pod: Pod) -> Iterator[float]:
    """As it is asked to, at once; then its object goes."""
    pod.asked_to_stop()
    yield 1
    pod.ends(143)
    yield 1
    pod.removed()


def _taken(reason: str, message: str, after: float) -> _Steps:
    """By Kubernetes, which asks kubelet to stop the pod and then removes its object."""

    def steps(pod: Pod) -> Iterator[float]:
        yield after
        pod.condition("DisruptionTarget", "True", reason, message)
        yield from _stops(pod)

    return steps


def _stopped_by_kubelet(after: float, code: int, reason: str, message: str) -> _Steps:
    """With the exit code that its container has then, and the pod's own reason and message."""

    def steps(pod: Pod) -> Iterator[float]:
        yield after
        pod.condition("DisruptionTarget", "True", "TerminationByKubelet", message)
        pod.ends(code)
        pod.fails(reason, message)

    return steps


def _loses_node(after: float, *, removed: bool) -> _Steps:
    def steps(pod: Pod) -> Iterator[float]:
        yield after
        yield SILENT
        pod.node_is("Unknown")
        pod.event("Warning", "NodeNotReady", "Node is not ready")
        pod.condition("Ready", "False")
        yield TOLERATED
        message = "Taint manager: deleting due to NoExecute taint"
        pod.condition("DisruptionTarget", "True", "DeletionByTaintManager", message)
        pod.asked_to_stop()
        yield 60
        if removed:
            # The machine is gone for certain; then the garbage collector calls the pod failed.
            pod.node_is_removed()
            message = "PodGC: node no longer exists"
            pod.condition("DisruptionTarget", "True", "DeletionByPodGC", message)
            pod.vanishes()
        else:
            pod.node_is("True")
            pod.ends(143)
        yield 1
        pod.removed()

    return steps


def _deleted(after: float) -> _Steps:
    def steps(pod: Pod) -> Iterator[float]:
        yield after
        yield from _stops(pod)

    return steps


def _deleted_before_start(pod: Pod) -> Iterator[float]:
    yield 1
    pod.asked_to_stop(0)
    pod.removed()
    yield 0


def _no_room(seconds: float) -> _Steps:
    def steps(pod: Pod) -> Iterator[float]:
        message = (
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
            "1 No preemption victims found for incoming pod."
        )
        pod.event("Warning", "FailedScheduling", message)
        pod.condition("PodScheduled", "False", "Unschedulable", message)
        yield seconds

    return steps


def _pulls_in_vain(pod: Pod, why: str) -> None:
    message = f'failed to pull and unpack image "{pod.image}": failed to resolve reference "{pod.image}": {why}'
    pod.event("Warning", "Failed", f'Failed to pull image "{pod.image}": {message}')
    pod.waits("ErrImagePull", message)


def _backs_off(pod: Pod, why: str) -> None:
    pod.event("Normal", "BackOff", f'Back-off pulling image "{pod.image}"')
    pod.waits("ImagePullBackOff", f'Back-off pulling image "{pod.image}": ErrImagePull: {why}')


def _no_image(pod: Pod) -> Iterator[float]:
    pod.schedule()
    while True:
        yield STARTS_AFTER
        _pulls_in_vain(pod, f"{pod.image}: not found")
        yield 10
        _backs_off(pod, f"{pod.image}: not found")
        yield 10


def _no_registry(seconds: float) -> _Steps:
    why = 'failed to do request: Head "https://registry.example/v2/": dial tcp 10.0.0.9:443: i/o timeout'

    def steps(pod: Pod) -> Iterator[float]:
        pod.schedule()
        yield STARTS_AFTER
        _pulls_in_vain(pod, why)
        yield seconds / 2
        _backs_off(pod, why)
        yield seconds / 2

    return steps


def _first(what: Callable[[Pod], None], end: _Steps) -> _Steps:
    """Something else just before the pod ends, so that its end falls into it."""

    def steps(pod: Pod) -> Iterator[float]:
        left = end(pod)
        yield next(left, 0)
        what(pod)
        yield from left

    return steps
