"""Which version of a release is scheduled, and since when: a YAML file beside the files of the releases.

Versions have DAG ids of their own, and to Airflow the runs of one are none of another. So a version takes over where
the last run of the one before it was: the plan names that run, the version before runs up to it and this one after it,
as if both were one DAG. Both read the same line, so no data interval is skipped, and none runs twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from airflow_platform.command_error import CommandError

_HEAD = "# Which version is scheduled; written by airflow-platform promote, rollback, retire, reinstate and delete.\n"
#: The types of runs that a retired version allows: those of the schedule, of which it has what was its own before.
RETIRED_ALLOWS = ["scheduled"]
#: A version's schedule, as Airflow's UI shows it: where it has none, and behind its own where it has an end.
NOT_SCHEDULED, UP_TO = "not scheduled", " up to "


@dataclass(frozen=True)
class RunInfo:
    """A scheduled run: when it is due, and its data interval."""

    run_after: datetime
    start: datetime
    end: datetime

    def as_dict(self) -> dict[str, str]:
        """As the plan's file has it."""
        return {name: value.astimezone(UTC).isoformat() for name, value in vars(self).items()}

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> RunInfo:
        """From the plan's file."""
        return cls(**{name: datetime.fromisoformat(found[name]) for name in ("run_after", "start", "end")})


@dataclass(frozen=True)
class Term:
    """A time for which a version of a DAG is scheduled: runs after ``after``, up to ``until`` (None: no bound)."""

    after: RunInfo | None = None
    until: RunInfo | None = None


@dataclass(frozen=True)
class Turn:
    """From here on ``version`` is scheduled (None: none is).

    ``after`` has, for each DAG of the version before, the last run that this one does; None where it does none.
    """

    version: str | None
    after: Mapping[str, RunInfo | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Deleted:
    """What is kept of a version that is gone: the SHA-256 of its file, and its images."""

    sha256: str
    images: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a DAG folder. ``retired`` versions get no new runs."""

    source: str = ""
    turns: Sequence[Turn] = ()
    retired: Sequence[str] = ()
    deleted: Mapping[str, Deleted] = field(default_factory=dict)

    @property
    def scheduled(self) -> str | None:
        """The version that is scheduled now, or will be as soon as the one before has done its last run."""
        return self.turns[-1].version if self.turns else None

    @property
    def last(self) -> str | None:
        """The version that is scheduled, or was last where none is."""
        return next((turn.version for turn in reversed(self.turns) if turn.version), None)

    @property
    def before(self) -> str | None:
        """The version to go back to: that which was scheduled before."""
        past = [turn.version for turn in self.turns if turn.version not in (None, self.last)]
        return past[-1] if past else None

    @property
    def went_back(self) -> bool:
        """Whether the last version had been scheduled before: somebody has gone back to it, or promoted it again."""
        return [turn.version for turn in self.turns].count(self.last) > 1 if self.last else False

    @property
    def ended(self) -> str | None:
        """The version that had the schedule until the last turn."""
        return self.turns[-2].version if len(self.turns) > 1 else None

    def terms(self, version: str, dag: str) -> list[Term]:
        """When the DAG of a version is scheduled."""
        found = []
        for turn, following in zip(self.turns, [*self.turns, None][1:], strict=True):
            if turn.version != version:
                continue
            until = following.after.get(dag) if following else None
            if following is None or until is not None:
                found.append(Term(turn.after.get(dag), until))
        return found

    def turn_to(self, version: str | None, after: Mapping[str, RunInfo | None]) -> Plan:
        """The plan with another version scheduled, after these runs of the version before.

        Where that has not had a DAG, or there was none, it goes on after what was there earlier.
        """
        earlier = self.turns[-1].after if self.turns else {}
        return replace(self, turns=[*self.turns, Turn(version, {**earlier, **after})])

    def reinstated(self, version: str) -> Plan:
        """The plan in which a version is not retired."""
        return replace(self, retired=[one for one in self.retired if one != version])

    @classmethod
    def beside(cls, file: Path, name: str) -> Plan:
        """The plan beside a release's file; an empty one where there is none yet.

        Raises:
            CommandError: it is malformed.
        """
        path = file.with_name(f"{name}.yaml")
        return cls.read(path.read_text(), path) if path.exists() else cls()

    @classmethod
    def read(cls, text: str, where: Path | str) -> Plan:
        """A plan as its file has it.

        Raises:
            CommandError: it is malformed.
        """
        try:
            found = yaml.safe_load(text) or {}
            turns = [
                Turn(
                    one["version"],
                    {dag: info and RunInfo.of(info) for dag, info in (one.get("after") or {}).items()},
                )
                for one in found.get("schedule") or ()
            ]
            return cls(
                source=found["source"],
                turns=turns,
                retired=found.get("retired") or (),
                deleted={version: Deleted(**one) for version, one in (found.get("deleted") or {}).items()},
            )
        except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise CommandError(
                f"{where} is no plan of releases ({type(error).__name__}: {error}). git has it as it was before."
            ) from error

    def render(self) -> bytes:
        """The plan's file."""
        turns = [
            {
                "version": turn.version,
                "after": {dag: info and info.as_dict() for dag, info in sorted(turn.after.items())},
            }
            for turn in self.turns
        ]
        content: dict[str, Any] = {"source": self.source, "schedule": turns}
        content["retired"] = list(self.retired)
        content["deleted"] = {
            version: {"sha256": one.sha256, "images": list(one.images)} for version, one in sorted(self.deleted.items())
        }
        return (_HEAD + yaml.safe_dump(content, sort_keys=False)).encode()
