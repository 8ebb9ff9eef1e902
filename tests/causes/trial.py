"""One run of all faults, launched in one way: provoked, watched, and each judged by what its log said and when."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from threading import Thread

from kubernetes import config
from kubernetes.client import ApiClient, CoreV1Api
from local.cluster import settings
from local.cluster.airflow import Airflow
from local.cluster.console import Problem, Step
from tests.causes import fillers, logs, outages
from tests.causes.acts import free_quota, make_room
from tests.causes.cases import Case
from tests.causes.logs import Line
from tests.causes.sight import EventRecord, NodeRecord, Sight
from tests.causes.work import PLATFORM, STOCK, Run
from tests.observe.pods import Pod, PodRecord

#: Seconds for a whole run.
LONG = 2700
#: Seconds between two looks at the log of a task: often enough to time a line, and too rarely to keep the API busy. Of
#: a task of the stock operator it is read from its worker's pod.
_PACE = {PLATFORM: 1.5, STOCK: 3.0}
#: Seconds after the end of a task in which the rest of its log may come.
_UPLOAD = 20
#: How lines of the platform begin that only repeat what Kubernetes says; the last are the operator's own, at a retry.
_IN_OTHER_WORDS = ("Pod event: ", "The API server said", "Retrying ", "Reason: ", "HTTP response ")
#: Where a log may name a fault: in a line, over several, or in a pod that is printed as an object.
LINE, LINES, OBJECT = "line", "lines", "object"
_OVER = {"success", "failed", "skipped", "upstream_failed", "removed"}


@dataclass
class Task:
    """The task of one fault while it is under way, and what was found of it."""

    case: Case
    launch: str
    core: CoreV1Api
    pods: PodRecord
    events: EventRecord
    nodes: NodeRecord
    run: Run
    instance: dict = field(default_factory=dict)
    log: list[Line] = field(default_factory=list)
    #: When the API first gave a log that names the fault, in seconds since the epoch; and the line, if it is one.
    told_at: float | None = None
    told_line: Line | None = None
    evidence: dict | None = None
    #: What the API server answers to a pod like the task's, and that pod, where an act has asked it.
    refusal: dict | None = None
    asked_for: dict | None = None
    notes: list[str] = field(default_factory=list)
    #: When it was first seen to be over.
    over_at: float | None = None
    #: When its log was read last.
    looked_at: float = 0.0

    @property
    def sight(self) -> Sight:
        """What Kubernetes has shown."""
        found = self.pods.pods(run_id=self.run.run_id, task_id=self.case.name)
        return Sight(found, self.events.of(found), self.nodes.seen)

    def pod(self) -> Pod | None:
        """Its newest pod."""
        return next(iter(self.sight.pods[-1:]), None)

    def shown(self) -> float | None:
        """When Kubernetes showed the fault; where there is no pod, when the task began."""
        if self.case.shown is not None:
            return self.case.shown(self.sight)
        return seconds(self.instance.get("start_date"))

    def told(self) -> bool:
        """Whether the log has named the fault, or the task is over."""
        return self.told_at is not None or self.over

    @property
    def over(self) -> bool:
        """Whether the task has ended."""
        return self.instance.get("state") in _OVER

    @property
    def done(self) -> bool:
        """Whether nothing more is to come."""
        return self.over_at is not None and (self.told_at is not None or time.time() - self.over_at > _UPLOAD)

    def look(self, airflow: Airflow) -> None:
        """Ask for the log, as long as it has not named the fault and may yet."""
        if self.over and self.over_at is None:
            self.over_at = time.time()
        if self.done or self.told_at is not None or self.shown() is None or not self.instance.get("try_number"):
            return
        if time.time() - self.looked_at >= _PACE[self.launch]:
            self.log = logs.read(airflow, self.instance)
            self.looked_at = time.time()
            self._find()

    def close(self, airflow: Airflow, access: dict) -> None:
        """Read the whole log, now that the task is over, and the evidence."""
        with suppress(Problem, OSError):
            self.log = logs.read(airflow, self.instance)
        self._find()
        self.evidence = logs.evidence(access, self.instance)

    def naming(self) -> list[Line]:
        """The lines that name the fault, but for those that name the run: they are about the task."""
        return [line for line in self._plain() if self.case.named_in(line.text)]

    def where(self) -> str:
        """Where the log names the fault: one of `LINE`, `LINES` and `OBJECT`; empty where it does not.

        The platform is to say it in one line of its own. Of the stock operator it counts wherever it stands.
        """
        if self.naming():
            return LINE
        if self.launch == PLATFORM:
            return ""
        if self.case.named_in("\n".join(line.text for line in self._plain())):
            return LINES
        objects = [line for line in self.log if not line.plain]
        return OBJECT if self.case.named_in("\n".join(line.text for line in [*self._plain(), *objects])) else ""

    def _plain(self) -> list[Line]:
        # The platform is to say it in its own words, not only in Kubernetes'.
        raw = _IN_OTHER_WORDS if self.launch == PLATFORM else ()
        return [
            one for one in self.log if one.plain and self.run.run_id not in one.text and not one.text.startswith(raw)
        ]

    def _find(self) -> None:
        if self.where():
            self.told_at = self.told_at or time.time()
            self.told_line = self.told_line or next(iter(self.naming()), None)


def run(
    cases: Sequence[Case], launch: str, airflow: Airflow, access: dict, current: Step
) -> tuple[list[Task], list[dict]]:
    """Provoke the faults; their tasks, each over, and the cluster's nodes as they were before.

    :raises Problem: the run did not end.
    """
    core = CoreV1Api(_client())
    pods, events = (
        PodRecord(_client(), settings.TASK_NAMESPACE, states=True),
        EventRecord(_client(), settings.TASK_NAMESPACE),
    )
    nodes = NodeRecord(core.api_client)
    nodes.look()
    with ExitStack() as stack:
        for record in (pods, events):
            record.start()
            stack.callback(_stop, record)
        if any(case.alone for case in cases):
            # An earlier run may have been interrupted, and this one may be.
            outages.mend_all()
            stack.callback(outages.mend_all)
        _take_what_is_wanted(stack, core, cases)
        this = Run(airflow, launch)
        stack.callback(_stop, this)
        tasks = [Task(case, launch, core, pods, events, nodes, this) for case in cases]
        threads = [Thread(target=_act, args=[task], daemon=True) for task in tasks if task.case.act]
        for thread in threads:
            thread.start()
        _watch(tasks, nodes, this, airflow, current)
        for thread in threads:
            thread.join(timeout=60)
        for task in tasks:
            task.close(airflow, access)
    return tasks, nodes.seen[0][1]


def _take_what_is_wanted(stack: ExitStack, core: CoreV1Api, cases: Sequence[Case]) -> None:
    """Fill the node and the quota that tasks wait for."""
    acts = {case.act for case in cases}
    if make_room in acts:
        (node,) = (one.metadata.name for one in core.list_node(label_selector="node-pool=gpu").items)
        stack.enter_context(fillers.room_taken(core, node, "", but=100))
    if free_quota in acts:
        stack.enter_context(fillers.running(fillers.pod(fillers.QUOTA, cpu="1m", priority="causes-full")))


def _watch(tasks: list[Task], nodes: NodeRecord, this: Run, airflow: Airflow, current: Step) -> None:
    deadline = time.monotonic() + LONG
    while True:
        nodes.look()
        try:
            instances = this.instances()
            for task in tasks:
                task.instance = instances[task.case.name]
            for task in tasks:
                task.look(airflow)
        except (Problem, OSError) as error:
            # The API may be busy for a moment: what is late by that is seen late.
            current.note(f"the API does not answer: {error}")
        over = sum(task.over for task in tasks)
        current.note(f"{sum(task.told_at is not None for task in tasks)} told, {over} of {len(tasks)} over")
        if all(task.done for task in tasks):
            return
        if time.monotonic() > deadline:
            left = ", ".join(task.case.name for task in tasks if not task.over)
            raise Problem(f"the run did not end within {LONG} s: {left}", f"See {this.dag_id}, run {this.run_id}.")
        time.sleep(0.5)


def _act(task: Task) -> None:
    try:
        task.case.act(task)
    except Exception as error:
        # It is the fault that was not provoked: the table says so.
        task.notes.append(f"could not be provoked: {error}")


def _client() -> ApiClient:
    return config.new_client_from_config(str(settings.kubeconfig()))


def _stop(one: PodRecord | EventRecord | Run) -> None:
    with suppress(RuntimeError, Problem, OSError):
        one.stop()


def seconds(timestamp: str | None) -> float | None:
    """Seconds since the epoch; None where there is no time."""
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp() if timestamp else None
