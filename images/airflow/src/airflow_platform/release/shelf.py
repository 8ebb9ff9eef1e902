"""The releases and plans in a copy of the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from airflow_platform.command_error import CommandError
from airflow_platform.release.file import Release, read
from airflow_platform.release.plan import Plan
from airflow_platform.release.version import key, suffixed

#: Of the folder's releases that are archived, below it: as files whose names Airflow takes for no DAG's.
_ARCHIVE, _ARCHIVED = "archive", ".txt"


@dataclass(frozen=True)
class Shelf:
    """The releases of the DAG folder ``name``, in ``folder``."""

    folder: Path
    name: str

    @property
    def plan(self) -> Plan:
        """Its plan; an empty one where there is none yet."""
        return Plan.beside(self.folder / "_", self.name)

    @property
    def versions(self) -> list[str]:
        """All that are there, archived ones too, the oldest first."""
        return sorted({*_versions(self.folder, self.name, ".py"), *self.archived}, key=key)

    @property
    def archived(self) -> list[str]:
        """Those that are kept where Airflow does not look."""
        return sorted(_versions(self.folder / _ARCHIVE, self.name, _ARCHIVED), key=key)

    def path(self, version: str) -> Path:
        """Of the file of a version, where it is; of one that is not there, where it belongs."""
        archived = self._archived(version)
        return archived if archived.exists() else self._served(version)

    def archive(self, version: str) -> None:
        """Move a version away from where Airflow looks."""
        self._archived(version).parent.mkdir(exist_ok=True)
        self.path(version).rename(self._archived(version))

    def bring_back(self, version: str) -> None:
        """Move an archived version to where Airflow looks."""
        self._archived(version).rename(self._served(version))

    def _served(self, version: str) -> Path:
        return self.folder / f"{suffixed(self.name, version)}.py"

    def _archived(self, version: str) -> Path:
        return self.folder / _ARCHIVE / f"{suffixed(self.name, version)}{_ARCHIVED}"

    def get(self, version: str) -> Release:
        """A version.

        Raises:
            CommandError: it is not there.
        """
        key(version)
        if not self.path(version).exists():
            if not self.versions:
                names = ", ".join(sorted({path.stem for path in self.folder.glob("*.yaml")})) or "none"
                raise CommandError(f"there is no release of {self.name}. Released: {names}.")
            raise CommandError(f"{self.name} has no release {version}. There are {', '.join(self.versions)}.")
        return read(self.path(version).read_bytes())

    def put(self, plan: Plan) -> None:
        """Write the plan."""
        (self.folder / f"{self.name}.yaml").write_bytes(plan.render())

    def of_source(self, source: str) -> Plan:
        """The plan, for releases of the folder ``source``.

        Raises:
            CommandError: the name is taken by another folder.
        """
        plan = self.plan
        if plan.source and plan.source != source:
            raise CommandError(
                f"releases named {self.name} are of {plan.source}: give the folder of {source} another name"
            )
        return replace(plan, source=source)


def _versions(folder: Path, name: str, suffix: str) -> Iterator[str]:
    """Of the release ``name`` whose files are in the folder itself."""
    start = suffixed(name, "")
    for path in folder.glob(f"{start}*{suffix}"):
        version = path.stem.removeprefix(start).replace("_", ".")
        if version.count(".") == 2 and version.replace(".", "").isdigit():
            yield version
