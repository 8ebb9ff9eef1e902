"""The releases and plans in a copy of the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from airflow_platform.command_error import CommandError
from airflow_platform.release.file import Release, read
from airflow_platform.release.plan import Plan
from airflow_platform.release.version import key, suffixed


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
        """All that are there, the oldest first."""
        start = suffixed(self.name, "")
        found = (path.stem.removeprefix(start).replace("_", ".") for path in self.folder.glob(f"{start}*.py"))
        return sorted((one for one in found if one.count(".") == 2 and one.replace(".", "").isdigit()), key=key)

    def path(self, version: str) -> Path:
        """Of the file of a version."""
        return self.folder / f"{suffixed(self.name, version)}.py"

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
