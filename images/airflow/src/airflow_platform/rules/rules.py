"""The rules: each is a function of one imported DAG file, by its name; its docstring says what it asks for.

A finding at a DAG or a task is left out where its line says why: ``# allow retries: it sends letters``.
"""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_platform.catalogue import FILE
from airflow_platform.diagnosis.crowd import DEFAULT_POOL
from airflow_platform.rules import Finding

if TYPE_CHECKING:
    from airflow_platform.rules.judge import Loaded, Place

#: Seconds of processor time that the import of a file may take, beside that of Airflow and the operator. The DAG
#: processor imports it every 30 s, and each phase of a task does.
PARSE_SECONDS = 3.0

_VERSION = re.compile(r"v?\d+\.\d+\.\d+([-+._].+)?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ALLOW = re.compile(r"#\s*allow (?P<rules>[a-z-]+(?:, ?[a-z-]+)*): *\S")

_Wrong = Iterator[tuple[str, "Place"]]
#: The rules by their names.
RULES: dict[str, Callable[[Loaded], _Wrong]] = {}


def findings(seen: Loaded) -> list[Finding]:
    """All findings of a file.

    That of a release cannot change: it was judged when it was released, by the pools and images of then. What is left
    is whether it can be imported still.
    """
    asked = {"imports": imports} if seen.released else RULES
    return [
        Finding(file, line, name, message)
        for name, rule in asked.items()
        for message, (file, line) in rule(seen)
        if not _allowed(name, file, line)
    ]


def _allowed(rule: str, file: Any, line: int) -> bool:
    found = _ALLOW.search(linecache.getline(str(file), line))
    return bool(found) and rule in re.split(", ?", found["rules"])


def _of_file(rule: Callable[[Loaded], _Wrong]) -> Callable[[Loaded], _Wrong]:
    RULES[rule.__name__.strip("_").replace("_", "-")] = rule
    return rule


def _of_dag(rule: Callable[[Any, Mapping[str, Any]], Iterator[str]]) -> None:
    """A rule that is asked of each DAG, and of what it was made with."""

    def each(seen: Loaded) -> _Wrong:
        for dag, options in seen.dags:
            for message in rule(dag, options):
                yield f"DAG {dag.dag_id} {message}", seen.place(dag)

    each.__name__, each.__doc__ = rule.__name__, rule.__doc__
    _of_file(each)


def _of_task(rule: Callable[[Any, Loaded], Iterator[str]]) -> None:
    """A rule that is asked of each task."""

    def each(seen: Loaded) -> _Wrong:
        for dag, _ in seen.dags:
            for task in dag.tasks:
                for message in rule(task, seen):
                    yield f"task {dag.dag_id}.{task.task_id} {message}", seen.place(dag, task.task_id)

    each.__name__, each.__doc__ = rule.__name__, rule.__doc__
    _of_file(each)


@_of_file
def imports(seen: Loaded) -> _Wrong:
    """The file can be imported, and makes a DAG that Airflow can run."""
    if not any(_uses_subdag(seen)):
        yield from seen.errors


@_of_file
def top_level(seen: Loaded) -> _Wrong:
    """While it is imported it reaches no network, database, Variable or Connection, starts nothing, does not sleep."""
    for what, place in seen.reached:
        yield f"the file reaches {what} while it is imported; do that in a task, or in a template", place


@_of_file
def parse_time(seen: Loaded) -> _Wrong:
    """Its import takes little processor time."""
    if seen.seconds > PARSE_SECONDS:
        took = f"its import takes {seen.seconds:.1f} s of processor time, and {PARSE_SECONDS:g} s are allowed"
        yield f"{took}; import what is heavy inside of a task, or move it into an image", (seen.file, 1)


@_of_file
def no_subdag(seen: Loaded) -> _Wrong:
    """There is no SubDAG: Airflow 3 has none."""
    for line in _uses_subdag(seen):
        yield "SubDagOperator is not in Airflow any more; use a TaskGroup", (seen.file, line)


def _uses_subdag(seen: Loaded) -> Iterator[int]:
    try:
        tree = ast.parse(seen.file.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            if any("subdag" in name.lower() for name in names):
                yield node.lineno


@_of_dag
def tags(dag: Any, _: Mapping[str, Any]) -> Iterator[str]:
    """A DAG has tags."""
    if not dag.tags:
        yield "has no tags, by which people find it; add tags=[…], its team among them"


@_of_dag
def documentation(dag: Any, _: Mapping[str, Any]) -> Iterator[str]:
    """A DAG says what it is for."""
    if not (dag.doc_md or "").strip():
        yield "has no documentation; say in doc_md what it does, for whom, and where its result is"


@_of_dag
def start_date(dag: Any, _: Mapping[str, Any]) -> Iterator[str]:
    """A DAG has a start."""
    if dag.start_date is None:
        yield "has no start_date; add start_date=datetime(…, tzinfo=UTC)"


@_of_dag
def catchup(_: Any, options: Mapping[str, Any]) -> Iterator[str]:
    """A DAG says whether it catches up: the default is a setting of the deployment."""
    if "catchup" not in options:
        yield "does not say whether it runs for the time before it was there; add catchup=False, or True"


@_of_task
def owner(task: Any, _: Loaded) -> Iterator[str]:
    """A task has an owner."""
    if task.owner in ("", "airflow", None):
        yield "has no owner; name your team, most often in the DAG's default_args"


@_of_task
def retries(task: Any, _: Loaded) -> Iterator[str]:
    """A task is tried again."""
    if not task.retries:
        allow = "# allow retries: why"
        yield f"is not tried again when it fails; set retries to 1 or more, or say `{allow}` on the line that makes it"


@_of_task
def timeout(task: Any, _: Loaded) -> Iterator[str]:
    """A task has a time limit."""
    if task.execution_timeout is None:
        yield "may run for ever; set execution_timeout=timedelta(…)"


@_of_task
def pool(task: Any, seen: Loaded) -> Iterator[str]:
    """A task names a node pool, or one that is declared."""
    known = seen.platform.pools
    if not known or task.pool in known:
        return
    named = "names no pool" if task.pool == DEFAULT_POOL else f"names the pool {task.pool!r}, which does not exist"
    yield f"{named}; set pool to one of {', '.join(sorted(known))}"


@_of_task
def platform(task: Any, seen: Loaded) -> Iterator[str]:
    """The platform takes the task as it is: its pool gives what it asks for, and the like."""
    known = seen.platform.pools
    said = seen.refused.get((task.dag_id, task.task_id))
    if said and (not known or task.pool in known):
        yield said.removeprefix(f"Task {task.dag_id}.{task.task_id} ")


@_of_task
def image(task: Any, seen: Loaded) -> Iterator[str]:
    """A task's image is pinned, and is the one version that the catalogue has of it; there a digest may follow it."""
    named = _setting(task, "image")
    if named is None:
        return
    name, version, digest = _parts(str(named))
    if digest is None and not _VERSION.fullmatch(version or ""):
        yield f"runs {named}, which may be another image tomorrow; write <name>:<major>.<minor>.<patch>, or a digest"
    elif seen.versions is not None and version is not None:
        known = seen.versions.get(name)
        says, _, pinned = (known or "").partition("@")
        if known is None:
            # A digest is enough: it pins the image without the catalogue.
            if digest is None:
                yield f"runs {named}, and {FILE} has no {name}; add the line `{name}: {version}` there"
        elif says != version or (digest and pinned and digest != pinned):
            yield f"runs {named}, and {FILE} says {known}; take the version from there"


@_of_task
def resources(task: Any, seen: Loaded) -> Iterator[str]:
    """A task that runs an image says what it needs, or its pool does."""
    if _setting(task, "image") is None or "container_resources" in _mapped(task):
        return
    given = _setting(task, "container_resources")
    node_pool = seen.platform.node_pool(task.pool)
    defaults = node_pool.resources if node_pool else None
    missing = [
        f"{part}.{name}"
        for part, name in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))
        if name not in _part(given, part) and name not in _part(defaults, part)
    ]
    if missing:
        yield f"does not say its {', '.join(missing)}; set container_resources=V1ResourceRequirements(…)"


def _setting(task: Any, name: str) -> Any:
    """A setting of a task, mapped or not; None where it has none, or maps over it."""
    return task.partial_kwargs.get(name) if task.is_mapped else getattr(task, name, None)


def _mapped(task: Any) -> set[str]:
    value = task.expand_input.value if task.is_mapped else {}
    return set(value) if isinstance(value, Mapping) else set()


def _part(given: Any, part: str) -> Mapping[str, Any]:
    found = given.get(part) if isinstance(given, Mapping) else getattr(given, part, None)
    return found or {}


def _parts(image: str) -> tuple[str, str | None, str | None]:
    """Name, tag and digest of an image."""
    rest, _, digest = image.partition("@")
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, tag = rest, ""
    return name, tag or None, digest if _DIGEST.fullmatch(digest) else None
