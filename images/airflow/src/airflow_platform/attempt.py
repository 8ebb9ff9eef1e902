"""What a launch knows of those before it in the same try; it goes with triggers and their events, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One launch of a task's try.

    Args:
        instance: id of the task instance, which another try does not have.
        again: how often the try was started again, because its pod was taken away.
        over: the ``uid`` of the pod that was, which is never taken for the new one.
        waits_for: what keeps the pod from being created, as cause and object of a verdict; the launcher says it once.
        since: since when, in seconds since the epoch.
        refused: how often that has refused the pod.
        told: when the trigger that waits has last said of it how things stand, in seconds since the epoch.
        first: since when the try waits at all; by it, those that wait are in order.
        memory: bytes that the base container may use, where these are more than its task asks for; 0: they are not.
    """

    instance: str = ""
    again: int = 0
    over: str | None = None
    waits_for: str = ""
    since: float | None = None
    refused: int = 0
    told: float | None = None
    first: float | None = None
    memory: int = 0

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> Attempt:
        """What was stored, by this release or another."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in (stored or {}).items() if name in known})

    def after(self, over: str) -> Attempt:
        """The one that follows where this one's pod, of that ``uid``, was taken away; it has waited for nothing yet."""
        return Attempt(instance=self.instance, again=self.again + 1, over=over, memory=self.memory)

    def refused_by(self, what: str, now: float) -> Attempt:
        """The one that follows where something, or the same thing once more, keeps this one from going on."""
        same = self.waits_for == what
        return replace(
            self,
            waits_for=what,
            since=self.since if same else now,
            told=self.told if same else None,
            refused=self.refused + 1 if same else 1,
            first=self.first or now,
        )

    def as_dict(self) -> dict[str, Any]:
        """The attempt as JSON has it."""
        return asdict(self)
