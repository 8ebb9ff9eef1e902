"""One scenario on one way to launch tasks: what scenarios do their work with, and the evidence that is left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone

from kubernetes import config
from kubernetes.client import ApiClient
from local.cluster import settings
from local.cluster.airflow import Airflow
from local.cluster.console import Problem, Step, wait_for
from local.cluster.kind import kubectl
from tests.faults import components, logs, takeover, verdict, work
from tests.faults.ledger import Entry, Ledger
from tests.faults.takeover import Starts, Task
from tests.faults.verdict import Verdict
from tests.faults.work import PLATFORM, Run
from tests.observe.pods import Pod, PodRecord

#: Seconds for tasks to start or to end: for the first, and for each, by the way in which they are launched. Airflow
#: gives up a task whose process has gone after 300 s (task_instance_heartbeat_timeout), and may then try it again.
FIRST, EACH = 900, {work.STOCK: 25, work.PLATFORM: 5}
#: Seconds for logs to be whole after the last task has ended.
LOGS = 120
#: Seconds that triggers may need to be followed again after a kill; those that are not by then count as endless.
FOLLOWED = 150
#: Seconds between two lines of a task that waits, and lines that it prints at least.
INTERVAL, LINES = 5.0, 10


class _Over:
    """The run ended before what was waited for."""


class Trial:
    """What a scenario has at hand.

    :param launch: stock or platform.
    :param n: how many tasks.
    """

    def __init__(self, airflow: Airflow, access: dict, ledger: Ledger, launch: str, n: int, current: Step) -> None:
        self.airflow = airflow
        self.launch = launch
        self.n = n
        self.pods: PodRecord
        self.workers: PodRecord
        self.notes: list[str] = []
        self.faults = 0
        #: Tasks whose callback was called more than once.
        self.callbacks_twice = 0
        #: How many requests the api-server was sent meanwhile, and how many of them failed.
        self.requests = (0, 0)
        self._access = access
        self._ledger = ledger
        self._current = current
        self._runs: list[Run] = []
        self._starts = Starts()
        self._kills: list[tuple[float, list[Task]]] = []
        self._began = components.now()
        self._ended = self._began

    @property
    def patience(self) -> float:
        """Seconds for all tasks to start, or to end."""
        return FIRST + self.n * EACH[self.launch]

    def say(self, progress: str) -> None:
        """Tell how far it is."""
        self._current.note(progress)

    def start(
        self,
        n: int | None = None,
        *,
        gated: bool = True,
        lines: int = LINES,
        interval: float = INTERVAL,
        called: bool = False,
    ) -> Run:
        """Trigger a run of the DAG with as many tasks as the trial has, or ``n``; ``called``: that with a callback."""
        more = {"ledger": self._ledger.url, "gated": gated, "lines": lines, "interval": interval}
        run = work.start(self.airflow, work.CALLED if called else self.launch, n or self.n, **more)
        self._runs.append(run)
        return run

    def start_and_hold(self, *, called: bool = False) -> Run:
        """A run whose tasks all run and wait in the triggerer."""
        run = self.start(called=called)

        def waiting() -> bool:
            begun = self.begun(run)
            # The API is asked for hundreds of tasks only when it may be so: it has work of its own.
            deferred = run.states()["deferred"] if begun == run.n else 0
            self.say(f"{begun} of {run.n} tasks run, {deferred} of them wait in the triggerer")
            return deferred == run.n

        self.wait(f"{run.n} tasks that wait in the triggerer", waiting, run)
        return run

    def wait(self, what: str, check: Callable[[], object], run: Run, every: float = 2) -> None:
        """Wait for something of a run that has begun. :raises Problem: it took too long, or the run ended before it."""
        looked = time.monotonic()

        def done_or_over() -> object:
            nonlocal looked
            if done := check():
                return done
            if time.monotonic() - looked < 5:
                return None
            looked = time.monotonic()
            return _Over() if run.has_ended() else None

        if isinstance(wait_for(what, done_or_over, seconds=self.patience, every=every), _Over):
            states = ", ".join(f"{count} {state}" for state, count in run.states().items())
            raise Problem(f"{what}: the run ended before ({states})", f"See {run.dag_id}, run {run.run_id}, in the UI.")

    def open(self, run: Run, below: int | None = None) -> None:
        """Let the tasks of a run end, all or those below a number."""
        self._ledger.open(run.gate, run.n if below is None else below)

    def entries(self, event: str, *runs: Run) -> list[Entry]:
        """Entries of the ledger of one kind."""
        return [one for one in self._ledger.entries(*(run.run_id for run in runs)) if one.event == event]

    def begun(self, run: Run) -> int:
        """How many tasks of a run have begun."""
        return len({one.map_index for one in self.entries("start", run)})

    def outage(self, seconds: float) -> None:
        """Let what is away be away so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.say(f"away for {left:.0f} s more")
            time.sleep(min(left, 5))

    def waiting(self) -> list[Task]:
        """Tasks that are deferred now."""
        return [
            (run.run_id, one["map_index"])
            for run in self._runs
            for one in run.instances()
            if one["state"] == "deferred"
        ]

    @contextmanager
    def lose_triggers(self, tasks: list[Task]) -> Iterator[None]:
        """Around what takes the triggers of these tasks away: measures when others start, and waits for it."""
        self._starts.look(self._runs)
        self.faults += 1
        lost_at = components.now()
        self._kills.append((lost_at, tasks))
        yield

        def followed() -> bool:
            self._starts.look(self._runs)
            left = {task for task in tasks if self._starts.after(task, lost_at) is None}
            left &= set(self.waiting() if left else ())
            self.say(f"fault {self.faults}: {len(left)} of {len(tasks)} triggers are yet to start again")
            return not left

        # Those that are late are in the figures.
        with suppress(Problem):
            wait_for("the triggers", followed, seconds=FOLLOWED, every=2)

    def finish(self) -> None:
        """Let all tasks end and wait for it; what has not ended in time is lost."""
        for run in self._runs:
            if run.gate:
                self.open(run)

        def ended() -> bool:
            states = sum((run.states() for run in self._runs), start=work.Counter())
            self.say(", ".join(f"{count} {state}" for state, count in states.most_common()))
            return all(run.has_ended() for run in self._runs)

        with suppress(Problem):
            wait_for("the end of all runs", ended, seconds=self.patience, every=5)
        self._ended = components.now()

    def judge(self, scenario: str) -> Verdict:
        """The figures. :raises Problem: tasks were not launched in the way that was asked for."""
        found = Verdict(scenario, self.launch, sum(run.n for run in self._runs), self.faults, notes=self.notes)
        found.requests, found.requests_failed = self.requests
        found.callbacks_twice = self.callbacks_twice
        instances = {run: run.instances() for run in self._runs}
        self._check_launch([one for every in instances.values() for one in every])
        entries = self._ledger.entries(*(run.run_id for run in self._runs))
        verdict.count_tasks(found, [one for every in instances.values() for one in every], entries)
        verdict.count_lines(found, self._logs(instances, entries))
        if self._kills:
            ended = {
                (run.run_id, one["map_index"]): components.seconds(one["end_date"])
                for run, every in instances.items()
                for one in every
                if one["state"] == "success"
            }
            verdict.count_takeovers(found, takeover.seconds(self._starts, self._kills, ended))
        self.pods.stop()
        self.workers.stop()
        if gaps := self.pods.gaps:
            self.notes.append(f"the test's own watch of the pods was told 410 Gone {gaps} times")
        mine = [pod for pod in self.pods.pods(self._is_mine) if "map_index" in pod.labels]
        tasks = [(pod.labels["run_id"], int(pod.labels["map_index"])) for pod in mine]
        verdict.count_pods(found, tasks, len(self.workers.pods(self._is_mine)), self._unseen())
        found.seconds = round(self._ended - self._began)
        found.date = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return found

    def _is_mine(self, pod: Pod) -> bool:
        return pod.labels.get("run_id") in {run.run_id for run in self._runs}

    def _unseen(self) -> int:
        """Pods that were scheduled and that the watch has not seen."""
        seen = {pod.uid for pod in self.pods.pods()}
        words = ["get", "events", "-n", settings.TASK_NAMESPACE, "--field-selector=reason=Scheduled", "-o", "json"]
        uids = {
            one["involvedObject"]["uid"]
            for one in json.loads(kubectl(*words))["items"]
            if one["involvedObject"]["name"].startswith(f"faults-{self.launch}")
            and components.seconds(one["eventTime"] or one["firstTimestamp"]) >= self._began
        }
        return len(uids - seen)

    def _check_launch(self, instances: list[dict]) -> None:
        executors = {one["executor"] or "" for one in instances if one["state"] is not None}
        wrong = {one for one in executors if ("launcher" in one) != (self.launch == PLATFORM)}
        if wrong:
            raise Problem(
                f"tasks of the way {self.launch} had the executor {', '.join(sorted(wrong)) or 'of the release'}",
                "Does the release have a launcher (launcher.kind), and is it the default (launcher.launch)?",
            )

    def _logs(self, instances: dict[Run, list[dict]], entries: list[Entry]) -> list[list[logs.Completeness]]:
        """For each task that ran to its end: its log in S3, and as the API shows it."""
        printed = {(one.run_id, one.map_index): one.lines for one in entries if one.event == "end"}
        wanted = {
            run: [one for one in every if (run.run_id, one["map_index"]) in printed] for run, every in instances.items()
        }

        def compare(run: Run) -> dict[int, logs.Completeness]:
            stored = logs.stored(self._access, run.dag_id, run.run_id)
            for every in stored.values():
                for line in every:
                    self._starts.note(line.text, line.time.timestamp())
            return {
                one["map_index"]: logs.completeness(
                    [line.text for line in stored.get((one["map_index"], one["try_number"]), [])],
                    printed[run.run_id, one["map_index"]],
                )
                for one in wanted[run]
            }

        found: dict[Run, dict[int, logs.Completeness]] = {}

        def whole() -> bool:
            found.update(
                {run: compare(run) for run in self._runs if not found.get(run) or not all(found[run].values())}
            )
            left = sum(not one for every in found.values() for one in every.values())
            self.say(f"{left} logs are not complete")
            return left == 0

        with suppress(Problem):
            wait_for("whole logs", whole, seconds=LOGS, every=5)
        every = []
        for run, tasks in wanted.items():
            for done, one in enumerate(tasks):
                self.say(f"logs in the API: {done} of {len(tasks)}")
                shown = logs.completeness(self.airflow.log(one), printed[run.run_id, one["map_index"]])
                every.append([found[run][one["map_index"]], shown])
        return every

    def clean_up(self) -> None:
        """End what still runs, and forget what callbacks have left."""
        for run in self._runs:
            with suppress(Problem, OSError):
                run.stop()
                for one in work.calls(self.airflow, run.run_id):
                    self.airflow.call("DELETE", f"variables/{one['key']}")
        runs = ",".join(run.run_id for run in self._runs)
        if runs:
            for namespace in (settings.TASK_NAMESPACE, settings.NAMESPACE):
                kubectl("delete", "pods", "-n", namespace, "-l", f"run_id in ({runs})", "--wait=false")


def run(
    scenario: str,
    act: Callable[[Trial], None],
    airflow: Airflow,
    access: dict,
    ledger: Ledger,
    launch: str,
    n: int,
    current: Step,
) -> Verdict:
    """Try one scenario on a platform that is well.

    :raises Problem: it is not well, or the tasks never came to run.
    """
    components.renew()
    components.wait_well(airflow)
    trial = Trial(airflow, access, ledger, launch, n, current)
    with ExitStack() as stack:
        stack.callback(trial.clean_up)
        for name, namespace in (("pods", settings.TASK_NAMESPACE), ("workers", settings.NAMESPACE)):
            record = PodRecord(_client(), namespace)
            record.start()
            stack.callback(_stop, record)
            setattr(trial, name, record)
        act(trial)
        trial.finish()
        return trial.judge(scenario)


def _client() -> ApiClient:
    return config.new_client_from_config(str(settings.kubeconfig()))


def _stop(record: PodRecord) -> None:
    with suppress(RuntimeError):
        record.stop()
