"""A DAG folder as git has it: all that a release of it holds."""

from __future__ import annotations

import ast
import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from airflow_platform.command_error import CommandError
from airflow_platform.release.git import git
from airflow_platform.release.modules import own

#: The versions of the images that DAGs run, beside the folders of the teams.
IMAGES = "images.yaml"
#: Of a DAG folder, what is for its authors and no part of what runs.
_LEFT_OUT = {"tests", "acceptance", "__pycache__"}
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Source:
    """A DAG folder ``path``, as "support/report", at the ``commit`` that last changed any of its ``files``.

    These are by path below the folder of all DAGs: those of the DAG folder, modules elsewhere that they import, and
    the file of the images.
    """

    path: str
    commit: str
    files: Mapping[str, bytes]

    @property
    def name(self) -> str:
        """The folder's own."""
        return PurePosixPath(self.path).name


def collect(folder: Path) -> Source:
    """The DAG folder ``dags/<team>/<dag>``, as it was committed last.

    Raises:
        CommandError: it is no such folder, has changes that are not committed, or something that cannot be released.
    """
    path = _path(folder)
    root = folder.resolve().parents[1]
    if git("rev-parse", "--is-shallow-repository", at=root).strip() == b"true":
        # Whatever is older than its history would have been changed by its first commit.
        raise CommandError(
            f"the clone at {root} is shallow, so which commit changed {path} is not known: git fetch --unshallow, or, "
            "in CI, fetch all of the history (fetch-depth: 0)"
        )
    tracked = _tracked(root)
    if f"{path}/dag.py" not in tracked:
        raise CommandError(f"{folder} has no dag.py in git: it is the file that makes the folder's DAGs")
    chosen = {name for name in tracked if name.startswith(f"{path}/") and _is_released(name, path)}
    chosen |= _imported(chosen, tracked)
    _check_imports(chosen, tracked)
    if IMAGES in tracked:
        chosen.add(IMAGES)
    _check_committed(root, sorted({path, *chosen}))
    commit = git("log", "-1", "--format=%H", "HEAD", "--", *sorted(chosen), at=root).decode().strip()
    return Source(path, commit, {name: tracked[name] for name in sorted(chosen)})


def _path(folder: Path) -> str:
    if not folder.is_dir():
        raise CommandError(f"{folder} is no folder: name a DAG's, as dags/support/ticket_sentiment")
    parts = folder.resolve().parts[-2:]
    if len(folder.resolve().parts) < 4 or not all(_NAME.fullmatch(part) for part in parts):
        raise CommandError(f"{folder} is no dags/<team>/<dag>, with names of letters, digits, _ and -")
    return "/".join(parts)


def _tracked(root: Path) -> dict[str, bytes]:
    """All files below the folder of all DAGs, at HEAD. Links are none: what they lead to may be elsewhere."""
    archive = git("archive", "--format=tar", "HEAD", ".", at=root)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}


def _is_released(name: str, path: str) -> bool:
    parts = PurePosixPath(name).relative_to(path).parts
    return not any(part in _LEFT_OUT or part.startswith(".") for part in parts)


def _imported(chosen: set[str], tracked: Mapping[str, bytes]) -> set[str]:
    """Modules outside of the DAG folder that modules in it import, and what these import."""
    found: set[str] = set()
    left = [name for name in chosen if name.endswith(".py")]
    while left:
        for module in _imports(left.pop(), tracked):
            parts = module.split(".")
            folders = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
            names = {file for at in folders for file in (f"{at}.py", f"{at}/__init__.py") if file in tracked}
            left += names - chosen - found
            found |= names - chosen
    return found


def _imports(name: str, tracked: Mapping[str, bytes]) -> Iterator[str]:
    for node in ast.walk(_parsed(name, tracked)):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = PurePosixPath(name).parts[: -node.level] if node.level else ()
            base = ".".join([*package, *([node.module] if node.module else [])])
            yield from (f"{base}.{one.name}" for one in node.names)


def _parsed(name: str, tracked: Mapping[str, bytes]) -> ast.Module:
    try:
        return ast.parse(tracked[name], name)
    except (SyntaxError, ValueError) as error:
        raise CommandError(f"{name} is no Python: {error}") from error


def _importers(module: ast.Module) -> dict[str, str]:
    """What imports by a name, by what the module calls it."""
    found = {name: name for name in ("import_module", "__import__")}
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module == "importlib":
            found |= {one.asname: one.name for one in node.names if one.asname and one.name in found}
    return found


def _check_imports(chosen: set[str], tracked: Mapping[str, bytes]) -> None:
    """An import by a name that is made while it runs would find the module of another version."""
    names = own(tracked)
    for file in sorted(one for one in chosen if one.endswith(".py")):
        module = _parsed(file, tracked)
        importers = _importers(module)
        for node in ast.walk(module):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = [*node.args, *(one.value for one in node.keywords if one.arg in ("name", None))]
            wanted = given[0] if given else None
            elsewhere = isinstance(wanted, ast.Constant) and str(wanted.value).partition(".")[0] not in names
            if called in importers and wanted and not elsewhere:
                raise CommandError(
                    f"{file}, line {node.lineno}: {importers[called]}() finds its module by name while it runs, which "
                    "may be that of another version. Write an import statement."
                )


def _check_committed(root: Path, names: list[str]) -> None:
    changed = git("status", "--porcelain", "--untracked-files=all", "--", *names, at=root).decode().splitlines()
    if changed:
        listed = ", ".join(line[3:] for line in changed[:5]) + (" and more" if len(changed) > 5 else "")
        raise CommandError(f"a release is of what is committed, and these are not: {listed}. Commit them first.")
