"""From a task that is over to a row of the table, and from the rows to the figures that must hold."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.causes.cases import CASES
from tests.causes.sight import Json
from tests.causes.trial import Task, seconds
from tests.causes.work import PLATFORM


@dataclass
class Outcome:
    """What became of one fault with one way to launch its task."""

    case: str
    launch: str
    state: str
    #: Whether Kubernetes has shown the fault: else it was not provoked.
    shown: bool
    #: The class that the platform gave it, and whether it is sure; the stock operator gives none.
    kind: str | None = None
    cause: str | None = None
    certain: bool | None = None
    #: Whether the log names the fault, and where; the line that does, or else the last one that a person would read.
    named: bool = False
    where: str = ""
    line: str = ""
    #: Seconds from when Kubernetes showed it: to that line in the API's log, and to the end of the task.
    line_s: float | None = None
    stop_s: float | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether class and object are right."""
        return self.named and self.kind == CASES[self.case].kind

    @property
    def wrong_for_sure(self) -> bool:
        """Whether a wrong class was given as certain."""
        return bool(self.certain) and self.kind != CASES[self.case].kind


def outcome(task: Task, recorded: Json | None) -> Outcome:
    """The row of a task.

    :param recorded: the case that was made of its pod, for a task that has no evidence, as it did not fail.
    """
    shown = task.shown()
    verdict = (task.evidence or {}).get("verdict") or (recorded or {}).get("verdict") or {}
    if task.launch != PLATFORM:
        verdict = {}
    ended = seconds(task.instance.get("end_date"))
    found = Outcome(
        task.case.name,
        task.launch,
        task.instance.get("state") or "none",
        shown is not None,
        verdict.get("kind"),
        verdict.get("cause"),
        verdict.get("certain"),
        named=task.told_at is not None,
        where=task.where(),
        line=_last_line(task),
        notes=list(task.notes),
    )
    if shown is not None and task.told_at is not None:
        # A line may be there before what the watch of this test shows.
        found.line_s = round(max(task.told_at - shown, 0), 1)
    if shown is not None and ended is not None:
        found.stop_s = round(max(ended - shown, 0), 1)
    if task.launch == PLATFORM and found.state != task.case.state:
        found.notes.append(f"ended as {found.state}, not as {task.case.state}")
    if _at_once(task):
        found.notes.append("a second pod was there while the first might still run")
    if task.launch == PLATFORM and verdict and verdict.get("cause") != task.case.cause:
        found.notes.append(f"cause {verdict.get('cause')}, not {task.case.cause}")
    return found


def _at_once(task: Task) -> bool:
    """Whether a pod of the task was created before the one before it had stopped."""
    return any(
        before.terminated is None or after.first_seen < before.terminated
        for before, after in itertools.pairwise(task.sight.pods)
    )


def _last_line(task: Task) -> str:
    """The last line that names the fault; where none does, the last that is an error, or the last one."""
    errors = [line for line in task.log if line.plain and line.level in ("error", "critical")]
    plain = [line for line in task.log if line.plain]
    last = next(iter((task.naming() or errors or plain)[-1:]), None)
    return last.text.partition("\n")[0] if last else ""


@dataclass(frozen=True)
class Figure:
    """A figure that must hold: its limit, from above, or from below where ``at_least``."""

    name: str
    unit: str
    must: float
    at_least: bool = False

    def verdict(self, measured: float | None) -> str:
        """``met``, ``missed`` or ``not measured``."""
        if measured is None:
            return "not measured"
        return "met" if (measured >= self.must if self.at_least else measured <= self.must) else "missed"


RIGHT = Figure("causes right: the class, and the object named", "%", 95, at_least=True)
WRONG = Figure("wrong class with certainty", "", 0)
LINE = Figure("time to the line, 95 of 100", "s", 15)
STOP = Figure("a user's error stops within, at most", "s", 45)


def figures(outcomes: Sequence[Outcome]) -> list[dict]:
    """Each figure of one way to launch, as measured. A way that gives no class is judged by what it names alone."""
    classed = any(one.kind for one in outcomes)
    right = [one.right if classed else one.named for one in outcomes]
    lines = [math.inf if one.line_s is None else one.line_s for one in outcomes]
    stops = [math.inf if one.stop_s is None else one.stop_s for one in outcomes if CASES[one.case].must_stop]
    measured = {
        RIGHT: 100 * sum(right) / len(right) if right else None,
        WRONG: sum(one.wrong_for_sure for one in outcomes) if classed else None,
        LINE: _percentile(lines, 95),
        STOP: max(stops, default=None),
    }
    return [
        {
            "figure": one.name,
            "unit": one.unit,
            "must": one.must,
            "at_least": one.at_least,
            "measured": None if value is None or math.isinf(value) else round(value, 1),
            "verdict": one.verdict(value),
        }
        for one, value in measured.items()
    ]


def _percentile(values: Sequence[float], percent: int) -> float | None:
    """The smallest value that ``percent`` of 100 do not exceed: endless, where that many have none."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1] if values else None
