"""Tasks whose pod cannot be created yet wait here, in the triggerer, until it is worth another try.

A launch that is refused for now defers to a `WaitTrigger`. All that wait in a triggerer stand in one line, by priority
and then by time. What quotas have left is asked for once for all of them, and where there is room for the first of a
quota, it goes: a phase of the launcher creates its pod. Of each quota one goes at a time, at most one a second of all
triggerers together; of those that wait for none, a few, or one where their cluster is away. So hundreds of tasks may
wait for little room, and neither the API server nor the launcher is busy with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
import structlog
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_platform import config, waits
from airflow_platform.attempt import Attempt
from airflow_platform.cluster import ApiError, Cluster, ClusterRef
from airflow_platform.diagnosis.quantity import Amounts, amounts
from airflow_platform.diagnosis.quota import Quota
from airflow_platform.log_channel import handed_on
from airflow_platform.told import Told
from airflow_platform.watch import PodWatch

#: Seconds between two that go for room in the same quota, of all triggerers together.
_PACE = 1.0
#: How many go in that time of those in one namespace that wait for no quota: an outage has refused many at once, and is
#: over. About as many phases as a processor of the launcher does in a second.
_AT_ONCE = 5
#: Seconds between two looks at what the quotas of a namespace have left.
_LOOK = 2
#: Seconds after which a task tries again of which it cannot be told whether it is worth it: its quota cannot be read.
_BLIND = 15
#: Seconds for which quotas are not asked for that may not be read.
_REST = 300
#: Seconds after which the pod of a task that went is there, or will not come.
_ARRIVES = 30
#: Seconds between two looks at who uses the quotas, and at who is where in the line.
_COUNT = 5
#: Seconds until a task first looks whether there is something to say of that, and then between two looks.
_FIRST, _TELL = 2, 10

log = structlog.get_logger("task")
_own_log = logging.getLogger(__name__)


class WaitTrigger(BaseTrigger):
    """Waits for its turn, and has the launcher try again; or says that the task's time is over.

    Args:
        cluster, namespace, name: the pod that is to be created.
        reason: what the task waits for, as its log has said.
        seconds: to wait at least.
        quota, requested: the ResourceQuota that is full, and what the pod needs of it, in quantities.
        gone: the ``uid`` of a pod that has the name still.
        priority: of the task by itself; the line goes by its weight as Airflow reckons it, where that is known.
        deadline: seconds since the epoch, when the task has run for its ``execution_timeout``.
        attempt: `airflow_platform.attempt.Attempt`, for the next launch.
        verdict: on what it waits for, as JSON; None where that is no fault.
        then: the event to give then, of a pod that was created and cannot be read now; None: that for another try.
    """

    def __init__(
        self,
        cluster: ClusterRef | dict[str, Any],
        namespace: str,
        name: str,
        reason: str = "",
        seconds: float = _BLIND,
        quota: str | None = None,
        requested: dict[str, str] | None = None,
        gone: str | None = None,
        priority: int = 1,
        deadline: float | None = None,
        attempt: dict[str, Any] | None = None,
        verdict: dict[str, Any] | None = None,
        then: dict[str, Any] | None = None,
        **_of_a_newer_release: Any,
    ) -> None:
        super().__init__()
        self.cluster = cluster if isinstance(cluster, ClusterRef) else ClusterRef(**cluster)
        self.namespace = namespace
        self.name = name
        self.reason = reason
        self.seconds = seconds
        self.quota = quota
        self.requested = requested or {}
        self.gone = gone
        self.priority = priority
        self.deadline = deadline
        self.attempt = attempt or {}
        self.verdict = verdict
        self.then = then

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, all of them JSON."""
        names = (
            "namespace", "name", "reason", "seconds", "quota", "requested", "gone", "priority", "deadline", "attempt",
            "verdict", "then",
        )  # fmt: skip
        arguments = {name: getattr(self, name) for name in names}
        return f"{__name__}.WaitTrigger", {**arguments, "cluster": asdict(self.cluster)}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: to launch again, or that the task's time is over."""
        told = Told(self.quota, Attempt.of(self.attempt).told)
        over = self.deadline is None or time.time() < self.deadline
        try:
            async with asyncio.timeout(max(self.deadline - time.time(), 0) if self.deadline else None):
                await self._turn(told)
        except TimeoutError:
            over = False
        await handed_on()
        if over:
            attempt = {**self.attempt, **({"told": told.at} if told.at else {})}
            yield TriggerEvent({**(self.then or {"status": "relaunch"}), "attempt": attempt})
        else:
            message = f"execution_timeout has passed. {self.reason}"
            yield TriggerEvent({"status": "timeout", "message": message, "waited": True, "verdict": self.verdict})

    async def _turn(self, told: Told) -> None:
        """Return when it is worth another try."""
        try:
            watch = await PodWatch.get(await Cluster.get(self.cluster), self.namespace)
        except Exception as error:
            log.warning(f"The cluster of pod {self.name} cannot be asked, so it is tried again blindly: {error}")
            await asyncio.sleep(max(self.seconds, _BLIND))
            return
        # Followed, so that the watch goes on; whether the pod is there is looked at where it matters.
        async with watch.follow(self.name):
            with waits.noted(self, self._cause), _line().stand(self, watch) as place:
                pause = _FIRST
                while not place.turn.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(place.turn.wait(), pause)
                    pause = _TELL
                    if self.quota and not place.turn.is_set():
                        self._tell(place, told)

    @property
    def _cause(self) -> str:
        """What it waits for, in the diagnosis' words."""
        if self.then:
            return "not-finished"
        return (self.verdict or {}).get("cause") or ("quota-full" if self.quota else "not-created")

    def _tell(self, place: _Place, told: Told) -> None:
        """Say who uses the quota, and how many wait before, where that is news."""
        sentence = _line().describe(place)
        if sentence and told.is_news(self.quota, sentence, Attempt.of(self.attempt).first):
            log.info(sentence)


class _Place:
    """One that stands in the line."""

    def __init__(self, trigger: WaitTrigger, watch: PodWatch) -> None:
        self.trigger = trigger
        self.watch = watch
        self.turn = asyncio.Event()
        self.came = time.monotonic()

    @property
    def order(self) -> tuple[int, float]:
        # Of the task instance, with what the task's ``weight_rule`` adds, which the phase that deferred did not know.
        weight = getattr(self.trigger.task_instance, "priority_weight", None)
        if weight is None:
            weight = self.trigger.priority
        return -weight, Attempt.of(self.trigger.attempt).first or time.time()

    @property
    def waited(self) -> float:
        """Seconds, in this triggerer."""
        return time.monotonic() - self.came


class _Quotas:
    """What the quotas of a namespace have left, less what is on its way."""

    def __init__(self, watch: PodWatch) -> None:
        self._watch = watch
        self._free: dict[str, Amounts] = {}
        self._objects: dict[str, Mapping[str, Any]] = {}
        #: By name, with the time until which it serves.
        self._described: dict[str, tuple[float, Quota]] = {}
        self._until = 0.0
        self._refused = False
        #: By the pod's name: quota, what the pod needs of it, until when it is waited for.
        self._on_the_way: dict[str, tuple[str, Amounts, float]] = {}

    async def has_room(self, trigger: WaitTrigger) -> bool | None:
        """Whether a pod would be admitted, or never will be, which a try finds out; None where it cannot be told."""
        if time.monotonic() >= self._until:
            await self._look()
        free = self._free.get(trigger.quota or "")
        if free is None:
            return None
        wanted = amounts(trigger.requested)
        hard = amounts((self._objects[trigger.quota or ""].get("status") or {}).get("hard"))
        if any(hard.get(name, amount) < amount for name, amount in wanted.items()):
            return True
        return all(free.get(name, amount) >= amount for name, amount in wanted.items())

    def describe(self, name: str) -> Quota | None:
        """The quota as it was seen last, with who uses it; None where it was not."""
        until, found = self._described.get(name, (0.0, None))
        if time.monotonic() >= until and (quota := self._objects.get(name)):
            found = Quota.of(quota, self._watch.pods())
            self._described[name] = time.monotonic() + _COUNT, found
        return found

    def take(self, trigger: WaitTrigger) -> None:
        """Count a pod that is about to be created."""
        if trigger.quota in self._free:
            needed = amounts(trigger.requested)
            self._on_the_way[trigger.name] = trigger.quota, needed, time.monotonic() + _ARRIVES
            self._less(trigger.quota, needed)

    def back(self, name: str) -> None:
        """The pod could not be created after all."""
        self._on_the_way.pop(name, None)

    async def _look(self) -> None:
        # Before it is asked: a pod that is there now is counted in the answer.
        for name, (_, _, until) in list(self._on_the_way.items()):
            if time.monotonic() > until or self._watch.known(name):
                del self._on_the_way[name]
        path = f"/api/v1/namespaces/{self._watch.namespace}/resourcequotas"
        try:
            found = await self._watch.cluster.request("GET", path, timeout=5)
        except (ApiError, aiohttp.ClientError, OSError) as error:
            refused = isinstance(error, ApiError) and error.status in (401, 403)
            if refused and not self._refused:
                _own_log.warning(
                    "Quotas of the namespace %s may not be read, so each task that waits for one tries blindly: %s",
                    self._watch.namespace,
                    error,
                )
            self._free, self._refused = {}, refused
            self._until = time.monotonic() + (_REST if refused else _BLIND)
            return
        self._objects = {quota["metadata"]["name"]: quota for quota in found["items"]}
        self._free = {name: _left(quota.get("status") or {}) for name, quota in self._objects.items()}
        self._until = time.monotonic() + _LOOK
        for quota, needed, _ in self._on_the_way.values():
            self._less(quota, needed)

    def _less(self, quota: str, needed: Amounts) -> None:
        free = self._free.get(quota, {})
        for name, amount in needed.items():
            if name in free:
                free[name] -= amount


class _Line:
    """All that wait in this triggerer."""

    def __init__(self) -> None:
        self._places: list[_Place] = []
        self._quotas: WeakKeyDictionary[PodWatch, _Quotas] = WeakKeyDictionary()
        self._task: asyncio.Task | None = None
        self._triggerers = config.load().triggerers
        self._pace = _PACE * self._triggerers
        #: How many go before each, and when that was counted.
        self._before: dict[_Place, int] = {}
        self._counted = 0.0

    @contextlib.contextmanager
    def stand(self, trigger: WaitTrigger, watch: PodWatch) -> Iterator[_Place]:
        """Stand in the line, until it is one's turn or one leaves."""
        place = _Place(trigger, watch)
        self._of(watch).back(trigger.name)
        self._places.append(place)
        if self._task is None or self._task.done():
            # In a context of its own: what it logs belongs to no single task of Airflow.
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="line of tasks that wait", context=contextvars.Context()
            )
        try:
            yield place
        finally:
            if place in self._places:
                self._places.remove(place)

    def describe(self, place: _Place) -> str:
        """How things stand for one that waits for a quota; empty where that is not known."""
        trigger = place.trigger
        quota = self._of(place.watch).describe(trigger.quota or "")
        if quota is None:
            return ""
        if time.monotonic() - self._counted >= (_COUNT if place in self._before else _PACE):
            self._count()
        # Of those who wait in other triggerers nothing is known here.
        at_least = self._triggerers > 1
        return quota.waited_for(amounts(trigger.requested), self._before.get(place), at_least=at_least)

    def _count(self) -> None:
        seen: Counter[tuple[PodWatch, str | None]] = Counter()
        self._before = {}
        for place in self._in_order():
            quota = place.watch, place.trigger.quota
            self._before[place] = seen[quota]
            seen[quota] += 1
        self._counted = time.monotonic()

    def _in_order(self) -> list[_Place]:
        return sorted(self._places, key=lambda one: one.order)

    async def _run(self) -> None:
        while self._places:
            # First: whoever comes now has been refused just now.
            await asyncio.sleep(self._pace)
            try:
                await self._let_go()
            except Exception:
                _own_log.exception("Tasks that wait for their pod could not be looked at")

    async def _let_go(self) -> None:
        """One round: no quota and no cluster takes the turn of another."""
        went: Counter[tuple[PodWatch, str]] = Counter()
        for place in self._in_order():
            trigger, quota = place.trigger, (place.watch, place.trigger.quota or "")
            # Where the cluster is away, one finds out whether it is back.
            most = 1 if trigger.quota or not place.watch.in_sync else _AT_ONCE
            if went[quota] >= most or place.waited < trigger.seconds:
                continue
            if await self._may_go(place):
                went[quota] += 1
                self._of(place.watch).take(trigger)
                if place in self._places:
                    self._places.remove(place)
                place.turn.set()
            elif trigger.quota:
                # Those behind wait too, or one that needs much would never have its turn.
                went[quota] = most

    async def _may_go(self, place: _Place) -> bool:
        trigger, pod = place.trigger, place.watch.known(place.trigger.name)
        if trigger.gone:
            return pod is None or pod["metadata"]["uid"] != trigger.gone or place.waited >= _BLIND
        if pod is not None or not trigger.quota:
            return True
        room = await self._of(place.watch).has_room(trigger)
        return place.waited >= _BLIND if room is None else room

    def _of(self, watch: PodWatch) -> _Quotas:
        if watch not in self._quotas:
            self._quotas[watch] = _Quotas(watch)
        return self._quotas[watch]


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()


def _line() -> _Line:
    loop = asyncio.get_running_loop()
    if loop not in _lines:
        _lines[loop] = _Line()
    return _lines[loop]


def _left(status: Mapping[str, Any]) -> Amounts:
    used = amounts(status.get("used"))
    return {name: hard - used.get(name, 0) for name, hard in amounts(status.get("hard")).items()}
