"""What goes away, and when."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from local.cluster import settings
from local.cluster.console import Problem, wait_for
from tests.faults import components, work
from tests.faults.nodes import Container
from tests.faults.trial import Trial
from tests.faults.work import PLATFORM, Run
from tests.observe.pods import Pod

#: Seconds that something is away, and that a triggerer or a scheduler is stopped.
AWAY, STOPPED = 60, 90
#: Kills of the triggerer and of the scheduler.
TRIGGERER_KILLS, SCHEDULER_KILLS = 10, 5
#: Launches that are to be cut off between pod and deferral, and runs of tasks in which to find so many.
CUTS, RUNS = 5, 12
#: Parts in which tasks are let go, each of which is cut off in its second phases.
PARTS = 5
#: Tasks that end by themselves within seconds.
SHORT = {"gated": False, "lines": 5, "interval": 1.0}
#: Command lines of the launcher's processes: LocalExecutor's and its tasks', and Celery's.
LAUNCHER_PROCESSES = "^airflow (worker|supervisor)|ForkPoolWorker"
#: Components in which launchers may run; the first that is there has them.
LAUNCHERS = ("launcher", "scheduler")
#: Seconds of heartbeats after which a triggerer or a scheduler that was stopped has done what it does when it wakes.
AWAKE = 20

SCHEDULER = f"deployment/{settings.RELEASE}-scheduler"
TRIGGERER = f"deployment/{settings.RELEASE}-triggerer"
API_SERVER = f"deployment/{settings.RELEASE}-api-server"
S3, POSTGRES = "statefulset/s3", "statefulset/postgres"


@dataclass(frozen=True)
class Scenario:
    """``n``: tasks of a run at full size; ``what``: what happens, for the page.

    ``stock_n``: as many of the stock operator, where it would take half an hour and more to launch all of them.
    ``only``: the ways to launch, by their names on the page, that have what goes away; empty: all. ``calls``: its tasks
    have a callback.
    """

    name: str
    n: int
    what: str
    act: Callable[[Trial], None]
    stock_n: int | None = None
    only: tuple[str, ...] = ()
    calls: bool = False

    def size(self, launch: str) -> int:
        """How many tasks a run at full size has."""
        return self.stock_n if self.stock_n and launch != PLATFORM else self.n


def triggerer_kill(trial: Trial, kills: int = TRIGGERER_KILLS) -> None:
    """All tasks wait in the triggerer; half of them end while it is away, the others after the last kill."""
    run = trial.start_and_hold()
    for number in range(1, kills + 1):
        with trial.lose_triggers(trial.waiting()):
            # In turns: kubelet keeps back a container that was killed twice in ten minutes, not that of a new pod.
            components.kill("triggerer", whole_pod=number % 2 == 1)
            trial.open(run, run.n * number // (2 * kills))


def triggerer_stop(trial: Trial) -> None:
    """The triggerer that has most triggers stands still until long after the other has taken them; then it goes on."""
    with components.scaled(settings.NAMESPACE, TRIGGERER, 2):
        run = trial.start_and_hold()
        wait_for("a triggerer for each trigger", lambda: None not in _triggerers(run).values(), seconds=60)
        ((busiest, _),) = Counter(_triggerers(run).values()).most_common(1)
        pods = {pod["status"]["podIP"]: pod for pod in components.pods("triggerer")}
        pod = pods[_job(trial, busiest)["hostname"]]
        began = time.monotonic()
        with components.frozen(components.container(pod, "triggerer")):
            with trial.lose_triggers([task for task, job in _triggerers(run).items() if job == busiest]):
                pass
            trial.outage(max(STOPPED - (time.monotonic() - began), 0))
        _wait_until_awake("triggerer", lambda: _job(trial, busiest))
        trial.finish()


def scheduler_stop(trial: Trial) -> None:
    """One of two stands still in a burst of short tasks, and the other takes what it had; then it goes on."""
    with components.scaled(settings.NAMESPACE, SCHEDULER, 2):
        run = trial.start(**SHORT)
        trial.wait("tasks that have begun", lambda: trial.begun(run) >= run.n // 4, run, every=0.5)
        pod = components.pods("scheduler")[0]
        trial.faults += 1
        with components.frozen(components.container(pod, "scheduler")):
            trial.outage(STOPPED)
        _wait_until_awake("scheduler", lambda: _last_job(trial, "SchedulerJob", pod["status"]["podIP"]))
        trial.finish()


def _wait_until_awake(what: str, job: Callable[[], dict]) -> None:
    """Wait until what goes on now has done what it does when it wakes; ``job`` asks for its job."""
    woken = components.now()

    def awake() -> bool:
        return components.seconds(job()["latest_heartbeat"]) > woken + AWAKE

    wait_for(f"heartbeats of the {what} that stood still", awake, seconds=components.BACK)


def _triggerers(run: Run) -> dict[tuple[str, int], int | None]:
    """Which triggerer job has the trigger of each task that waits."""
    return {(run.run_id, one["map_index"]): one["trigger"]["triggerer_id"] for one in run.instances() if one["trigger"]}


def _last_job(trial: Trial, kind: str, hostname: str) -> dict:
    jobs = trial.airflow.call("GET", f"jobs?job_type={kind}&hostname={hostname}&order_by=-id&limit=1")["jobs"]
    return jobs[0]


def _job(trial: Trial, job_id: int) -> dict:
    jobs = trial.airflow.call("GET", "jobs?job_type=TriggererJob&order_by=-id&limit=100")["jobs"]
    return next(one for one in jobs if one["id"] == job_id)


def scheduler_kill(trial: Trial) -> None:
    """At even steps of a burst of short tasks; a local launcher goes with the scheduler."""
    run = trial.start(**SHORT)
    for number in range(1, SCHEDULER_KILLS + 1):
        wanted = max(run.n * number // (SCHEDULER_KILLS + 1), 1)

        def begun(wanted: int = wanted) -> bool:
            begun = trial.begun(run)
            trial.say(f"{begun} of {run.n} tasks have begun")
            return begun >= wanted

        trial.wait(f"{wanted} tasks that have begun", begun, run, every=0.5)
        killed_at = components.now()
        components.kill("scheduler", whole_pod=number % 2 == 1)
        trial.faults += 1
        components.wait_alive(trial.airflow, "scheduler", killed_at)


def launcher_kill(trial: Trial) -> None:
    """Launchers that have created a pod and have not deferred yet.

    The moment is a few milliseconds long. So the launchers are frozen when a pod appears, and only where a task's pod
    is there and the task is not deferred, they are killed before they can go on. Else the next run may hit the moment.
    """
    cut = 0
    for _ in range(RUNS):
        # Found before they are needed: what takes time now would let the moment pass.
        launchers = _launchers() if trial.launch == PLATFORM else []
        run = trial.start()
        trial.wait("a pod of a task", lambda one=run: trial.pods.pods(run_id=one.run_id), run, every=0.005)
        # A worker may have ended by now.
        with components.frozen(*(launchers or _workers(trial, run)), may_be_gone=not launchers):
            caught = _with_pod_and_not_deferred(trial, run)
            if caught and launchers:
                for one in launchers:
                    one.kill_processes(LAUNCHER_PROCESSES)
            else:
                for number in caught:
                    for one in _workers(trial, run, number):
                        one.kill()
        cut += len(caught)
        trial.faults += bool(caught)
        trial.say(f"{cut} of {CUTS} launches cut off")
        if cut >= CUTS:
            break
    trial.notes.append(f"{cut} launches cut off in {trial.faults} kills")
    if not cut:
        raise Problem(f"no launch could be cut off in {RUNS} runs", "Run it again, or with more tasks: N=20.")


def second_phase(trial: Trial) -> None:
    """Launchers in phases that end a task: each such phase has to be done again, and its callback called once."""
    run = trial.start_and_hold(called=True)
    cut = 0
    for number in range(1, PARTS + 1):
        caught = _cut_second_phases(trial, run, range(run.n * (number - 1) // PARTS, run.n * number // PARTS))
        cut += caught
        trial.faults += bool(caught)
        trial.say(f"{cut} second phases cut off")
    if not cut:
        raise Problem("no second phase could be cut off", "Run it again, or with more tasks: N=80.")
    trial.finish()
    called = _count_calls(trial, run)
    if called < run.n - cut:
        raise Problem(f"callbacks of {called} of {run.n} tasks were called, and {cut} phases cut off", "See a log.")
    trial.notes.append(
        f"{cut} second phases cut off in {trial.faults} kills; callbacks of {called} of {run.n} tasks were called: "
        "one whose process is killed once the end is stored is not, as with Airflow's own"
    )


def _count_calls(trial: Trial, run: Run) -> int:
    """Of how many tasks of a run that has ended the callback was called; adds those of which it was more than once."""
    calls = Counter(
        one["key"].removeprefix(f"faults-called-{run.run_id}-").split("-")[0]
        for one in work.calls(trial.airflow, run.run_id)
    )
    trial.callbacks_twice += sum(count > 1 for count in calls.values())
    return len(calls)


def _cut_second_phases(trial: Trial, run: Run, part: range) -> int:
    """Let tasks of a part go, and kill the launchers once some are in their second phase; how many are cut off."""
    launchers = _launchers()
    trial.open(run, part.stop)

    def in_state(state: str) -> int:
        return sum(one["state"] == state and one["map_index"] in part for one in run.instances())

    def over() -> bool:
        return in_state("success") == len(part)

    # A phase is short: it may have been missed.
    trial.wait("a task in its second phase", lambda: in_state("running") or over(), run, every=0.1)
    with components.frozen(*launchers):
        caught = in_state("running")
        for one in launchers if caught else ():
            one.kill_processes(LAUNCHER_PROCESSES)
    # Before others are: what is lost too often is given up.
    trial.wait("the end of those that were let go", over, run)
    return caught


def _launchers() -> list[Container]:
    component = next(one for one in LAUNCHERS if components.pods(one))
    return [components.container(pod, component) for pod in components.pods(component)]


def _workers(trial: Trial, run: Run, number: int | None = None) -> list[Container]:
    """The containers of the stock operator's workers that run, of all tasks of a run or of one."""

    def runs(pod: Pod) -> bool:
        wanted = number is None or pod.labels["map_index"] == str(number)
        return wanted and pod.deleted is None and "running" in pod.container().get("state", {})

    return [components.container(pod.manifest, "base") for pod in trial.workers.pods(runs, run_id=run.run_id)]


def _with_pod_and_not_deferred(trial: Trial, run: Run) -> list[int]:
    """Map indexes of such tasks, once no request of a launcher is under way any more."""
    seen: list[list[int]] = []

    def settled() -> bool:
        there = {pod.labels["map_index"] for pod in trial.pods.pods(run_id=run.run_id)}
        running = sorted(one["map_index"] for one in run.instances() if one["state"] == "running")
        seen.append([number for number in running if str(number) in there])
        return len(seen) > 1 and seen[-1] == seen[-2]

    wait_for("an end of the launchers' requests", settled, seconds=20)
    return seen[-1]


def _outage(away: Callable[[], AbstractContextManager[None]], *, called: bool = False) -> Callable[[Trial], None]:
    """Something is away while half of the tasks that wait end, and while as many others are being launched.

    ``called``: all of them have a callback, and the note says how many were called.
    """

    def act(trial: Trial) -> None:
        held = trial.start_and_hold(called=called)
        runs = held, trial.start(**SHORT, called=called)
        with away():
            trial.faults += 1
            trial.open(held, held.n // 2)
            trial.outage(AWAY)
        if called:
            trial.finish()
            count = sum(_count_calls(trial, run) for run in runs)
            trial.notes.append(f"callbacks of {count} of {sum(run.n for run in runs)} tasks were called")

    return act


def s3(trial: Trial) -> None:
    """Away while all tasks end, and for a while after."""
    run = trial.start_and_hold()
    with components.scaled(settings.STAND_INS, S3, 0):
        trial.faults += 1
        trial.open(run)

        def ended() -> bool:
            done = len(trial.entries("end", run))
            trial.say(f"{done} of {run.n} containers have ended")
            return done == run.n

        trial.wait("the end of all containers", ended, run)
        trial.outage(AWAY)


SCENARIOS = {
    one.name: one
    for one in (
        Scenario(
            "triggerer-kill",
            200,
            f"the triggerer is killed {TRIGGERER_KILLS} times while all tasks run, its pod and its processes in turns; "
            "a twentieth of the tasks ends at each kill",
            triggerer_kill,
            stock_n=20,
        ),
        Scenario(
            "triggerer-stop",
            20,
            f"of two triggerers the one with most triggers is stopped for {STOPPED} s while all tasks run, then goes "
            "on",
            triggerer_stop,
        ),
        Scenario(
            "scheduler-kill",
            100,
            f"the scheduler is killed {SCHEDULER_KILLS} times while a burst of tasks is launched, its pod and "
            "its processes in turns",
            scheduler_kill,
            stock_n=20,
        ),
        Scenario(
            "scheduler-stop",
            40,
            f"of two schedulers one is stopped for {STOPPED} s in a burst of tasks, then goes on",
            scheduler_stop,
            stock_n=20,
        ),
        Scenario(
            "launcher-kill",
            8,
            "the processes of the launcher (stock: the worker) are killed where a task's pod is created and the task "
            f"is not deferred yet, in runs of 8 tasks until {CUTS} launches were cut off",
            launcher_kill,
        ),
        Scenario(
            "second-phase",
            40,
            "the processes of the launcher are killed while tasks with a callback are in their second phase, "
            f"{PARTS} times",
            second_phase,
            only=("local", "celery"),
            calls=True,
        ),
        Scenario(
            "api-server",
            20,
            f"Airflow's api-server is away for {AWAY} s while half of the tasks end and as many more are launched",
            _outage(partial(components.scaled, settings.NAMESPACE, API_SERVER, 0)),
        ),
        Scenario(
            "api-server-calls",
            20,
            "the same, with tasks that have a callback, for which the launcher ends them",
            _outage(partial(components.scaled, settings.NAMESPACE, API_SERVER, 0), called=True),
            only=("local", "celery"),
            calls=True,
        ),
        Scenario(
            "control-plane",
            20,
            f"Kubernetes' control plane is stopped for {AWAY} s while half of the tasks end and as many more are "
            "launched, etcd is compacted and the API server starts anew, so that every watch is told 410 Gone",
            _outage(components.control_plane_frozen),
        ),
        Scenario(
            "postgresql",
            20,
            f"PostgreSQL is away for {AWAY} s while half of the tasks end and as many more are launched",
            _outage(partial(components.scaled, settings.STAND_INS, POSTGRES, 0)),
        ),
        Scenario(
            "broker",
            20,
            f"the broker of the Celery launcher stands still for {AWAY} s, takes connections and answers nothing, "
            "while half of the tasks end and as many more are launched",
            _outage(components.broker_frozen),
            only=("celery",),
        ),
        Scenario("s3", 30, f"S3 is away while all tasks end, and for {AWAY} s more", s3),
    )
}

#: What `make test` runs: the triggerer is killed once.
SHORT_FORM = Scenario("triggerer-kill once", 10, "", partial(triggerer_kill, kills=1))
