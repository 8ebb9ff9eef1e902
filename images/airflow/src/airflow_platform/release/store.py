"""Where releases live: a folder on a branch of the DAGs' git repository, which the platform serves DAGs from.

Whatever it is kept in, a store has files by name: `read` gives them, `change` puts others in their place, all or none.
"""

from __future__ import annotations

import os
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from airflow_platform.command_error import CommandError
from airflow_platform.release.git import GitError, git, without_credentials

REPOSITORY, BRANCH, FOLDER = (f"AIRFLOW_PLATFORM_RELEASES_{name}" for name in ("REPOSITORY", "BRANCH", "FOLDER"))

#: Pushes that are tried, where others push meanwhile.
_PUSHES = 5


@dataclass(frozen=True)
class Written:
    """Who put a file there, and when (ISO 8601)."""

    who: str
    when: str


def add_options(parser: ArgumentParser) -> None:
    """The options that say where releases are kept."""
    group = parser.add_argument_group("where releases are kept")
    group.add_argument(
        "--repository",
        default=os.environ.get(REPOSITORY),
        help=f"the git repository (default: {REPOSITORY}, or the remote 'origin' of the DAG's own)",
    )
    group.add_argument(
        "--branch", default=os.environ.get(BRANCH, "releases"), help=f"its branch (default: {BRANCH}, or releases)"
    )
    group.add_argument(
        "--folder",
        default=os.environ.get(FOLDER, "dags/releases"),
        help=f"the folder on the branch (default: {FOLDER}, or dags/releases)",
    )


@dataclass(frozen=True)
class Store:
    """A folder on a branch of a repository."""

    repository: str
    branch: str
    folder: str

    @classmethod
    def of(cls, options: Namespace, at: Path) -> Store:
        """The store that the options name; by default in the repository that the folder ``at`` is in.

        Raises:
            CommandError: they name none.
        """
        repository, base = options.repository, Path()
        if not repository:
            try:
                repository = git("remote", "get-url", "origin", at=at).decode().strip()
                # As git itself takes it.
                base = Path(git("rev-parse", "--show-toplevel", at=at).decode().strip())
            except GitError as error:
                raise CommandError(f"where are releases kept? Set {REPOSITORY} or --repository ({error})") from error
        if "://" not in repository and (base / repository).exists():
            repository = str((base / repository).resolve())
        return cls(repository, options.branch, options.folder.strip("/"))

    def __str__(self) -> str:
        return f"{self.folder} on branch {self.branch} of {without_credentials(self.repository)}"

    @contextmanager
    def read(self) -> Iterator[Path]:
        """A copy of the folder, empty where nothing was released yet.

        Raises:
            CommandError: git's own words.
        """
        with tempfile.TemporaryDirectory() as temporary:
            clone = self._clone(Path(temporary))
            folder = clone / self.folder
            folder.mkdir(parents=True, exist_ok=True)
            yield folder

    def written(self, folder: Path) -> Mapping[str, Written]:
        """Who put the files of a copy there: names below the folder."""
        # Archived, and back from there, a file is moved.
        log = git("log", "--diff-filter=A", "--format=%x00%an%x00%aI", "--name-only", "--find-renames=100%", at=folder)
        found: dict[str, Written] = {}
        for one in log.decode().split("\0")[1:]:
            if "\n" not in one:
                who = one
                continue
            when, *names = one.split("\n")
            for name in names:
                if name.startswith(f"{self.folder}/"):
                    found.setdefault(name.removeprefix(f"{self.folder}/"), Written(who, when))
        return found

    def change(self, message: str, edit: Callable[[Path], None]) -> bool:
        """Let ``edit`` change the folder, and push it; whether there was anything to push.

        Where somebody else pushes meanwhile, it is done again with what they left.

        Raises:
            CommandError: of ``edit``, or git's own words.
        """
        for attempt in range(_PUSHES):
            with self.read() as folder:
                edit(folder)
                git("add", "--all", "--force", ".", at=folder)
                if not git("status", "--porcelain", "--", ".", at=folder):
                    return False
                git("commit", "--quiet", "--no-verify", "--message", message, at=folder)
                try:
                    git("push", "--quiet", "origin", f"HEAD:refs/heads/{self.branch}", at=folder)
                except GitError as error:
                    if attempt + 1 < _PUSHES and any(one in str(error) for one in ("fetch first", "non-fast-forward")):
                        continue
                    raise
                return True
        return False

    def _clone(self, at: Path) -> Path:
        found = git("ls-remote", "--heads", self.repository, f"refs/heads/{self.branch}", at=at)
        if found:
            git("clone", "--quiet", "--single-branch", "--branch", self.branch, self.repository, "store", at=at)
        else:
            git("init", "--quiet", f"--initial-branch={self.branch}", "store", at=at)
            git("remote", "add", "origin", self.repository, at=at / "store")
        return at / "store"
