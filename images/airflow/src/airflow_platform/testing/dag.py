"""A DAG under test, its runs, and what a test asks of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_platform.testing.airflow import Airflow
from airflow_platform.testing.clock import Clock, real_monotonic
from airflow_platform.testing.cluster import Cluster, Pod
from airflow_platform.testing.faults import Fault
from airflow_platform.testing.kubernetes_api import KubernetesApi
from airflow_platform.testing.triggerer import Triggerer

#: Simulated seconds in which nothing happens but what the platform does by itself, after which a run is given up.
_QUIET = 2 * 3600
#: Real seconds after which it is given up.
_REAL = 300
#: Seconds after a run's end in which pods are deleted.
_AFTER = 10


class Stuck(AssertionError):
    """A run does not end."""


@dataclass(frozen=True)
class TaskInstance:
    """A task instance of a run that has ended.

    Args:
        task_id, map_index: its names.
        state: Airflow's.
        tries: how often it was tried.
        pool: Airflow's.
        pods: all that it had, in their order.
        log: lines of all tries, the pods' among them.
        xcoms: by key.
        started, ended: when; None: it did not.
    """

    task_id: str
    map_index: int
    state: str | None
    tries: int
    pool: str
    pods: list[Pod] = field(repr=False)
    log: list[str] = field(repr=False)
    xcoms: dict[str, Any] = field(repr=False)
    started: datetime | None = field(repr=False)
    ended: datetime | None = field(repr=False)

    @property
    def name(self) -> str:
        """``score``, or ``score[2]`` of a mapped task."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    @property
    def pod(self) -> Pod:
        """Its last pod.

        Raises:
            AssertionError: it had none.
        """
        if not self.pods:
            raise AssertionError(f"{self.name} had no pod; its state is {self.state}. Its log:\n" + "\n".join(self.log))
        return self.pods[-1]

    @property
    def completed(self) -> int:
        """How many of its pods have done their work to the end."""
        return sum(pod.completed for pod in self.pods)


class Run:
    """A run that has ended. ``run["train"]`` is the task's instance, ``run["score", 2]`` a mapped one's.

    Attributes:
        state: Airflow's.
        tasks: all task instances, by task and map index.
    """

    def __init__(self, dag_id: str, run_id: str, state: str, tasks: list[TaskInstance]) -> None:
        self.dag_id, self.run_id, self.state, self.tasks = dag_id, run_id, state, tasks

    def __getitem__(self, name: str | tuple[str, int]) -> TaskInstance:
        task_id, index = (name, None) if isinstance(name, str) else name
        found = [one for one in self.tasks if one.task_id == task_id and index in (None, one.map_index)]
        if len(found) != 1:
            known = ", ".join(one.name for one in self.tasks)
            raise KeyError(f"{name!r} is {len(found)} task instances of the run. It has: {known}.")
        return found[0]

    def all(self, task_id: str) -> list[TaskInstance]:
        """The instances of a task, by map index."""
        return [one for one in self.tasks if one.task_id == task_id]

    @property
    def states(self) -> dict[str, str | None]:
        """State by name."""
        return {one.name: one.state for one in self.tasks}

    @property
    def pods(self) -> list[Pod]:
        """Of all tasks, in the order in which they were created."""
        return sorted((pod for one in self.tasks for pod in one.pods), key=lambda pod: pod.created)

    @property
    def order(self) -> list[str]:
        """Tasks that had pods, in the order in which their first pods began to work; a mapped task is there once."""
        started = [pod for pod in self.pods if pod.started is not None]
        return list(dict.fromkeys(pod.task_id for pod in sorted(started, key=lambda pod: pod.started)))

    def most_at_once(self, task_id: str | None = None, *, pool: str | None = None) -> int:
        """How many pods were at work at the same time, at most.

        Args:
            task_id: of this task alone.
            pool: of tasks in this pool alone.
        """
        pods = [
            pod for one in self.tasks for pod in one.pods if task_id in (None, one.task_id) and pool in (None, one.pool)
        ]
        return most_at_once(pods)

    def twice(self) -> list[str]:
        """What would have happened twice: sentences, one for each task instance; none, if all is well."""
        found = []
        for one in self.tasks:
            if most_at_once(one.pods) > 1:
                found.append(f"{one.name}: two of its pods were at work at once: {one.pods}")
            if one.completed > 1:
                found.append(f"{one.name}: {one.completed} of its pods did the work to its end: {one.pods}")
        return found

    def __repr__(self) -> str:
        return f"<run {self.run_id} of {self.dag_id}: {self.state}; {self.states}>"


def most_at_once(pods: list[Pod]) -> int:
    """How many of the pods were at work at the same time, at most."""
    moments = sorted(
        moment
        for pod in pods
        if pod.started is not None
        for moment in ((pod.started, 1), (float("inf") if pod.stopped is None else pod.stopped, -1))
    )
    most = now = 0
    for _, step in moments:
        now += step
        most = max(most, now)
    return most


class Simulation:
    """Airflow and a cluster, in simulated time.

    Args:
        airflow: entered.
        clock: not entered.
        cluster, api: what pods run in.
    """

    def __init__(self, airflow: Airflow, clock: Clock, cluster: Cluster, api: KubernetesApi) -> None:
        self.airflow, self.clock, self.cluster, self.api = airflow, clock, cluster, api
        clock.passes = lambda moment: api.do(lambda: cluster.pass_until(moment))
        self._triggerer: Triggerer | None = None
        self._restarts = 0

    def close(self) -> None:
        """End the triggerer."""
        if self._triggerer:
            self._triggerer.close()
            self._triggerer = None

    def run(self, dag_id: str, logical_date: datetime | None, conf: dict[str, Any] | None) -> Run:
        """Run a DAG to its end.

        Raises:
            DagError: it has no such run.
            Stuck: it does not end.
        """
        run_id, due = self.airflow.create_run(dag_id, logical_date, conf)
        if due.timestamp() > self.clock.now:
            self.clock.jump(due)
        given_up = real_monotonic() + _REAL
        while (state := self.airflow.state_of(dag_id, run_id)) in ("queued", "running"):
            if not self.step():
                raise Stuck(self._why(dag_id, run_id, "nothing more happens"))
            if real_monotonic() > given_up:
                raise Stuck(self._why(dag_id, run_id, f"it goes on for {_REAL} s of real time"))
        end = self.clock.now + _AFTER
        while self.pass_time(end):
            pass
        return Run(dag_id, run_id, state, list(self._instances(dag_id, run_id)))

    def step(self) -> bool:
        """Let the scheduler do what it can; where that is nothing, let time pass. Whether anything may still come."""
        if self.airflow.schedule():
            return True
        return self.pass_time()

    def pass_time(self, until: float = float("inf")) -> bool:
        """Let time pass until a trigger has an event or Airflow has something to do; whether it did."""
        if (due := self.airflow.next_moment()) is not None and due <= self.clock.now:
            due = None  # the scheduler has looked at it, and left it
        quiet = None
        while not self._triggers():
            if due is not None or self.cluster.has_plans:
                quiet = None
            elif quiet is None:
                quiet = self.clock.now
            moments = (due, self.cluster.next_moment, self._triggerer.loop.next_moment)
            moment = min((one for one in moments if one is not None), default=None)
            if moment is None or moment > until or (quiet is not None and moment > quiet + _QUIET):
                return False
            self.clock.pass_until(moment)
            if due == moment:
                return True
        return True

    def _triggers(self) -> bool:
        if self._triggerer is None or self._restarts != self.cluster.triggerer_restarts:
            self.close()
            self._restarts = self.cluster.triggerer_restarts
            self._triggerer = Triggerer(self.clock, self.api)
        return self._triggerer.step()

    def _instances(self, dag_id: str, run_id: str) -> Iterator[TaskInstance]:
        for one in self.airflow.instances(dag_id, run_id):
            key = (dag_id, run_id, one["task_id"], one["map_index"])
            pods = [pod for pod in self.cluster.pods if pod.key == key]
            yield TaskInstance(**one, pods=pods, log=self.airflow.logs.lines[key])

    def _why(self, dag_id: str, run_id: str, what: str) -> str:
        states = {one.name: one.state for one in self._instances(dag_id, run_id)}
        return f"Run {run_id} of {dag_id} does not end: {what}. Its tasks: {states}. Pods: {self.cluster.pods}"


class Dag:
    """A DAG under test."""

    def __init__(self, dag_id: str, simulation: Simulation) -> None:
        self.dag_id, self._simulation = dag_id, simulation
        simulation.airflow.dag(dag_id)

    def run(self, *, logical_date: datetime | None = None, conf: dict[str, Any] | None = None) -> Run:
        """Run it to its end.

        Args:
            logical_date: the run is the first of the DAG's schedule that is not before it; of a DAG without a schedule,
                one by hand at that date. None: the DAG's start date.
            conf: of the run.

        Raises:
            DagError: it has no such run.
            Stuck: it does not end.
        """
        return self._simulation.run(self.dag_id, logical_date, conf)

    def recovers_from(
        self,
        faults: Iterable[Fault],
        *,
        logical_date: datetime | None = None,
        conf: dict[str, Any] | None = None,
    ) -> None:
        """Prove that each fault, at each task that has a pod, changes nothing in the end.

        The DAG is run once without a fault, and then as often as there are faults, with another one at each task, until
        each has befallen each. Every run must end as the first: the same states, and each task's work done to its end
        once, by pods of which no two were at work at once. What does not recover is run again with that fault alone.

        Args:
            faults: most often `airflow_platform.testing.every_transient_fault`.
            logical_date, conf: as for `run`.

        Raises:
            AssertionError: which fault at which task it does not recover from, and what happened.
        """
        faults, simulation = list(faults), self._simulation
        well = self._run_under({}, logical_date, conf)
        tasks = list(dict.fromkeys(one.task_id for one in well.tasks if one.pods))
        if well.state != "success":
            raise AssertionError(f"Without any fault, it does not succeed: {well}")
        if not tasks:
            raise AssertionError(f"It has no task with a pod: {well}")
        found = []
        for turn in range(len(faults)):
            at = {task: faults[(turn + place) % len(faults)] for place, task in enumerate(tasks)}
            if together := self._wrong(well, at, logical_date, conf):
                alone = [self._wrong(well, {task: fault}, logical_date, conf) for task, fault in at.items()]
                found += [one for wrong in alone for one in wrong] or together
        simulation.cluster.faults = {}
        if found:
            raise AssertionError(f"{self.dag_id} does not recover from:\n" + "\n".join(found))

    def _wrong(self, well: Run, at: dict[str, Fault], *words: Any) -> list[str]:
        """What is other than in the run that went well, as sentences."""
        where = "; ".join(f"{fault.name} at {task}" for task, fault in at.items())
        try:
            run = self._run_under(at, *words)
        except Stuck as error:
            return [f"- {where}: {error}"]
        wrong = run.twice()
        if run.states != well.states:
            wrong.append(f"the run is {run.state}: {run.states}")
        completed = {one.name: one.completed for one in well.tasks}
        wrong += [
            f"{one.name}: {one.completed} of its pods did the work to its end: {one.pods}"
            for one in run.tasks
            if one.completed != completed.get(one.name, 0)
        ]
        befallen = {key[2] for key in self._simulation.cluster.befallen if key[1] == run.run_id}
        wrong += [f"{task} had no pod" for task in at if task not in befallen]
        logs = [f"  {one.name}: {line}" for one in run.tasks if one.state == "failed" for line in one.log[-8:]]
        return ["\n".join([f"- {where}: " + "; ".join(dict.fromkeys(wrong)), *logs])] if wrong else []

    def _run_under(self, at: dict[str, Fault], logical_date: datetime | None, conf: dict[str, Any] | None) -> Run:
        simulation = self._simulation
        simulation.airflow.forget_runs()
        simulation.cluster.faults = at
        simulation.cluster.say_again()
        return simulation.run(self.dag_id, logical_date, conf)
