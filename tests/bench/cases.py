"""What is run, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: Every way to launch a task, the floor first. The last two are the platform's own and differ in the release.
BARE, STOCK, STOCK_DEFERRABLE, LOCAL, CELERY = LAUNCHES = ("bare", "stock", "stock-deferrable", "local", "celery")
#: The ways of the platform itself.
OURS = (LOCAL, CELERY)
#: Stock Airflow needs minutes for 20 tasks, and more pods than the cluster takes for 200.
MOST_STOCK_TASKS = 20


@dataclass(frozen=True)
class Case:
    """``n`` tasks at once, launched one way."""

    launch: str
    n: int

    def __str__(self) -> str:
        return f"{self.launch}, {self.n} {'task' if self.n == 1 else 'tasks'}"


@dataclass(frozen=True)
class Plan:
    """All that is measured; what is published keeps to the defaults.

    ``waiting`` is the number of tasks that wait while memory is measured, 0 for none. ``idle`` is for how many seconds
    of each round the idle cluster is looked at; in 120 s the DAG processor has parsed each file once, by itself.
    """

    launches: tuple[str, ...] = LAUNCHES
    sizes: tuple[int, ...] = (1, 20, 200)
    rounds: int = 3
    waiting: int = 200
    idle: float = 120.0


def cases(launches: Sequence[str], sizes: Sequence[int]) -> list[Case]:
    """All cases, by size, within a size in the order of ``launches``."""
    return [
        Case(launch, n)
        for n in sorted(sizes)
        for launch in launches
        if not (launch.startswith("stock") and n > MOST_STOCK_TASKS)
    ]


def rounds(launches: Sequence[str], sizes: Sequence[int], count: int) -> Iterator[tuple[int, Case]]:
    """Each round has every case once: a machine that grows slower meanwhile is slower for all. Every other round goes
    backwards within a size, so that no way always follows the same one."""
    for number in range(1, count + 1):
        yield from ((number, case) for case in cases(launches if number % 2 else launches[::-1], sizes))
