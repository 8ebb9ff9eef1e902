"""A ResourceQuota that is full: one sentence, for who is refused by it, waits for it, or asks what is waited for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from airflow_platform.diagnosis.case import Json
from airflow_platform.diagnosis.quantity import Amounts, add, amounts, asked, number, portion

#: DAGs that are named.
_NAMED = 3
#: Phases of a pod that a quota counts no more (k8s.io/kubernetes, pkg/quota/v1/evaluator/core/pods.go).
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True)
class Quota:
    """A quota, and what is known of who uses it.

    Args:
        name, namespace: of the quota.
        used, hard: what is in use, and what it has in all.
        users: by DAG, what the pods of its tasks use of it; under an empty name, of DAGs that may not be named. None
            where that is not known.
    """

    name: str
    namespace: str
    used: Amounts
    hard: Amounts
    users: Mapping[str, Amounts] | None = None

    @classmethod
    def of(cls, quota: Json, pods: Iterable[Json], readable: Collection[str] | None = None) -> Quota:
        """The quota as the API gives it.

        Args:
            quota: with its status.
            pods: those of tasks in its namespace.
            readable: the DAGs that may be named; None: all.

        Raises:
            ValueError: a quantity is none.
        """
        status, metadata = quota.get("status") or {}, quota["metadata"]
        return cls(
            name=metadata["name"],
            namespace=metadata["namespace"],
            used=amounts(status.get("used")),
            hard=amounts(status.get("hard")),
            users=_users(quota, pods, readable),
        )

    def waited_for(self, requested: Amounts, before: int | None = None, *, at_least: bool = False) -> str:
        """The sentence of a task that waits for it.

        Args:
            requested: what the task's pod needs of what has run out.
            before: how many tasks wait for it that go first; None: that is not known.
            at_least: whether there may be more of these.
        """
        needed = {resource: amount for resource, amount in requested.items() if resource in self.hard}
        used = {resource: self.used.get(resource, Decimal(0)) for resource in needed}
        parts = [
            f"{portion(resource, used[resource], self.hard[resource])} used{self._by(resource)}, "
            f"{number(resource, amount)} asked for"
            for resource, amount in needed.items()
        ]
        has_room = needed and all(used[resource] + amount <= self.hard[resource] for resource, amount in needed.items())
        what, until = (
            ("has room again", "for its turn") if has_room else ("is full", "until pods that it counts have ended")
        )
        place = ""
        if before is not None:
            count = f"{'at least ' if at_least and before else ''}{before or 'no'}"
            place = f", and {count} {'task waits' if before <= 1 else 'tasks wait'} before it"
        said = f" ({'; '.join(parts)})" if parts else ""
        return f"Quota {self.name} of namespace {self.namespace} {what}{said}; the task waits {until}{place}."

    def _by(self, resource: str) -> str:
        if self.users is None:
            return ""
        of_dags = {dag: used[resource] for dag, used in self.users.items() if used.get(resource)}
        named = sorted((dag for dag in of_dags if dag), key=lambda dag: (-of_dags[dag], dag))
        said = [f"{dag} ({number(resource, of_dags[dag])})" for dag in named[:_NAMED]]
        others = sum(of_dags.values()) - sum(of_dags[dag] for dag in named[:_NAMED])
        if others:
            said.append(f"other DAGs ({number(resource, others)})")
        if not said:
            return " by pods of no task" if self.used.get(resource) else ""
        return f" by {' and '.join([', '.join(said[:-1]), said[-1]] if said[:-1] else said)}"


def counted(pod: Json) -> Amounts:
    """What a quota counts of a pod (k8s.io/kubernetes, pkg/quota/v1/evaluator/core/pods.go)."""
    found = {"pods": Decimal(1), "count/pods": Decimal(1)}
    for resource, amount in asked(pod).items():
        found[f"requests.{resource}"] = amount
        if "/" not in resource:
            found[resource] = amount
    for resource, amount in asked(pod, "limits").items():
        found[f"limits.{resource}"] = amount
    return found


def _users(quota: Json, pods: Iterable[Json], readable: Collection[str] | None) -> dict[str, Amounts] | None:
    classes = _classes(quota.get("spec") or {})
    if classes is None:
        return None
    users: dict[str, Amounts] = {}
    for pod in pods:
        spec, phase = pod.get("spec") or {}, (pod.get("status") or {}).get("phase")
        if phase not in _ENDED and (not classes or spec.get("priorityClassName") in classes):
            dag = (pod["metadata"].get("labels") or {}).get("dag_id", "")
            add(users.setdefault(dag if readable is None or dag in readable else "", {}), counted(pod))
    return users


def _classes(spec: Json) -> set[str] | None:
    """The priority classes whose pods the quota counts, empty: of all; None where it tells them by another scope."""
    scopes = [*(spec.get("scopes") or []), *((spec.get("scopeSelector") or {}).get("matchExpressions") or [])]
    if not scopes:
        return set()
    (first, *others) = scopes
    if others or isinstance(first, str) or (first.get("scopeName"), first.get("operator")) != ("PriorityClass", "In"):
        return None
    return set(first.get("values") or [])
