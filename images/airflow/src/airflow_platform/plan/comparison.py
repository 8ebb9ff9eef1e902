"""Two manifests of a release, compared."""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from airflow_platform.plan.immutable import Blocked, blocked
from airflow_platform.plan.manifest import Name, Object, component, differences, label, without_version

_RUN_PODS = ("DaemonSet", "Deployment", "StatefulSet")

#: Versions of Airflow from which on the database has another schema: ``_REVISION_HEADS_MAP`` of ``airflow.utils.db``.
SCHEMAS = ((3, 0, 0), (3, 0, 3), (3, 1, 0), (3, 1, 8), (3, 2, 0), (3, 3, 0))
#: The newest minor version that `SCHEMAS` knows all of.
_KNOWN = (3, 3)


@dataclass(frozen=True)
class Restart:
    """Pods of a component that are replaced."""

    component: str
    object: Name
    #: Their number; None where an autoscaler sets it.
    pods: int | None
    #: How they are replaced, in words.
    how: str
    #: What of the pods differs, in words.
    why: tuple[str, ...]
    #: Seconds that a pod has to end.
    grace: int


@dataclass(frozen=True)
class Fewer:
    """A component that loses pods, as another number is set, or as it is removed."""

    component: str
    object: Name
    #: Their number before and after; None where an autoscaler sets it.
    pods: int | None
    left: int | None
    #: Seconds that a pod has to end.
    grace: int


@dataclass(frozen=True)
class Plan:
    """What an upgrade would do."""

    restarts: tuple[Restart, ...]
    fewer: tuple[Fewer, ...]
    #: Components whose pods go on as they are.
    untouched: tuple[str, ...]
    #: Components whose number of pods was an autoscaler's, and is the release's again.
    unscaled: tuple[str, ...]
    #: Jobs that run.
    jobs: tuple[str, ...]
    #: Jobs that have failed, and those that are at work: they are left as they are.
    failed: tuple[Name, ...]
    at_work: tuple[Name, ...]
    #: Whether a Job has brought the database to the schema of what is there, or is to be; None where that is not known.
    migrated: bool | None
    created: tuple[Name, ...]
    changed: tuple[Name, ...]
    removed: tuple[Name, ...]
    #: Options that differ, by the file that has them.
    configuration: Mapping[str, tuple[str, ...]]
    blocked: tuple[Blocked, ...]
    #: Airflow's version before and after; None where the manifest does not say.
    versions: tuple[str | None, str | None]
    #: Whether the schema moves; None where a version is not known here, as that of another image.
    schema_moves: bool | None
    #: Components that run code of tasks, of those whose pods end: ``scheduler`` where the launcher is in its pods.
    launchers: tuple[str, ...] = field(default=())
    #: What is to be known of the comparison itself, in words.
    notes: tuple[str, ...] = field(default=())


def compare(before: Mapping[Name, Object], after: Mapping[Name, Object], jobs: Mapping[str, str] | None = None) -> Plan:
    """What making ``after`` of ``before`` does.

    :param jobs: the release's Jobs in the cluster, by name: ``Complete``, ``Failed``, or empty while one is at work.
    """
    both = sorted(before.keys() & after.keys())
    changed = [name for name in both if without_version(before[name]) != without_version(after[name])]
    configuration = dict(_configuration(before, after))
    restarts = tuple(
        _restart(name, before[name], after[name], configuration)
        for name in both
        if name.kind in _RUN_PODS and before[name]["spec"]["template"] != after[name]["spec"]["template"]
    )
    fewer = tuple(_fewer(before, after))
    ends = {one.object for one in (*restarts, *fewer)}
    to_be = sorted(name for name in after if name.kind == "Job")
    versions = _version(before), _version(after)
    unknown = versions[0] == versions[1] and _airflow_image(before) != _airflow_image(after)
    return Plan(
        restarts=restarts,
        fewer=fewer,
        untouched=tuple(component(after[name]) for name in both if name.kind in _RUN_PODS and name not in ends),
        unscaled=tuple(one.component for one in fewer if one.pods is None and one.object in after),
        jobs=tuple(name.name for name in to_be if (name not in before if jobs is None else name.name not in jobs)),
        failed=tuple(name for name in to_be if (jobs or {}).get(name.name) == "Failed"),
        at_work=tuple(name for name in to_be if (jobs or {}).get(name.name) == ""),
        migrated=_migrated(before, to_be, jobs),
        created=tuple(sorted(after.keys() - before.keys())),
        changed=tuple(changed),
        removed=tuple(sorted(before.keys() - after.keys())),
        configuration=configuration,
        blocked=tuple(one for name in changed for one in blocked(name, before[name], after[name])),
        versions=versions,
        schema_moves=None if unknown else schema_moves(*versions),
        launchers=tuple(sorted({one.component for one in (*restarts, *fewer)} & _launchers(before))),
    )


def _migrated(before: Mapping[Name, Object], to_be: Sequence[Name], jobs: Mapping[str, str] | None) -> bool | None:
    """By the Job that is to be, where it is there already, else by the one of before."""
    if jobs is None or not to_be:
        return None
    there = [jobs[name.name] for name in to_be if name.name in jobs]
    there = there or [jobs.get(name.name, "") for name in before if name.kind == "Job"]
    return bool(there) and set(there) == {"Complete"}


def schema_moves(old: str | None, new: str | None) -> bool | None:
    """Whether the schemas of two versions of Airflow differ; None where one of them is not known."""
    if old == new and old is not None:
        return False
    one, other = _numbers(old), _numbers(new)
    if one is None or other is None or max(one, other)[:2] > _KNOWN or min(one, other) < SCHEMAS[0]:
        return None
    return _schema(one) != _schema(other)


def _numbers(version: str | None) -> tuple[int, ...] | None:
    parts = (version or "").split(".")
    return tuple(map(int, parts)) if len(parts) == 3 and all(part.isdecimal() for part in parts) else None


def _schema(version: tuple[int, ...]) -> tuple[int, ...]:
    return max(one for one in SCHEMAS if one <= version)


def _version(objects: Mapping[Name, Object]) -> str | None:
    found = {label(one, "app.kubernetes.io/version") for name, one in objects.items() if name.kind in _RUN_PODS}
    known = found - {""}
    return known.pop() if len(known) == 1 else None


def _airflow_image(objects: Mapping[Name, Object]) -> str:
    """The image that runs Airflow: the scheduler's; empty where there is none."""
    schedulers = (one for name, one in objects.items() if name.kind in _RUN_PODS and component(one) == "scheduler")
    containers = (container for one in schedulers for container in one["spec"]["template"]["spec"]["containers"])
    return next((container["image"] for container in containers if container["name"] == "scheduler"), "")


def _launchers(objects: Mapping[Name, Object]) -> set[str]:
    """The components in whose pods phases of tasks run: Celery's, or the scheduler, which serves their logs then."""
    found = {component(one): one for name, one in objects.items() if name.kind in _RUN_PODS}
    if "launcher" in found:
        return {"launcher"}
    containers = found["scheduler"]["spec"]["template"]["spec"]["containers"] if "scheduler" in found else []
    ports = {port.get("name") for one in containers for port in one.get("ports", [])}
    return {"scheduler"} if "logs" in ports else set()


def _restart(name: Name, old: Object, new: Object, configuration: Mapping[str, Sequence[str]]) -> Restart:
    spec = new["spec"]
    return Restart(
        component=component(new) or name.name,
        object=name,
        pods=spec.get("replicas") if name.kind != "DaemonSet" else None,
        how=_how(name.kind, spec),
        why=tuple(dict.fromkeys(_reasons(old["spec"]["template"], spec["template"], configuration))),
        grace=_grace(old),
    )


def _fewer(before: Mapping[Name, Object], after: Mapping[Name, Object]) -> Iterator[Fewer]:
    for name in sorted(before):
        if name.kind not in ("Deployment", "StatefulSet"):
            continue
        spec, new = before[name]["spec"], after.get(name)
        pods, left = spec.get("replicas"), new["spec"].get("replicas") if new else 0
        # One that an autoscaler sets may have been any, and is one until that acts.
        if pods != left and (pods is None or pods > (1 if left is None else left)):
            yield Fewer(component(before[name]) or name.name, name, pods, left, _grace(before[name]))


def _grace(one: Object) -> int:
    return one["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30)


def _how(kind: str, spec: Mapping[str, Any]) -> str:
    if kind != "Deployment":
        return "one after the other"
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return "all end, then new ones start"
    if str((strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%")) in ("0", "0%"):
        return "a new one is ready before an old one ends"
    return "some at a time"


def _reasons(old: Any, new: Any, configuration: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What of a pod template differs, in few words. Values are not repeated, but for images."""
    for path in differences(old, new):
        if path[:2] == ("metadata", "annotations") and path[2].startswith("checksum/"):
            file = path[2].removeprefix("checksum/")
            yield f"{file}" + (" (below)" if file in configuration else "")
        elif path[:1] == ("metadata",):
            yield f"{path[1].removesuffix('s')} {path[2]}" if len(path) > 2 else path[1]
        elif len(path) >= 4 and path[1] in ("containers", "initContainers"):
            part, *rest = path[3:]
            if part == "image":
                yield f"image {_image(old, path)} → {_image(new, path)}"
            elif part == "env":
                yield f"variable {rest[0]}" if rest else "env"
            else:
                yield part
        elif len(path) == 3 and path[1] in ("containers", "initContainers"):
            yield f"container {path[2]}"
        elif len(path) >= 3:
            yield f"{path[1].removesuffix('s')} {path[2]}" if path[1] == "volumes" else path[1]
        else:
            yield ".".join(path[1:]) or "all of it"


def _image(template: Any, path: Sequence[str]) -> str:
    found = next(one for one in template["spec"][path[1]] if one["name"] == path[2])["image"].rpartition("/")[2]
    name, at, digest = found.partition("@sha256:")
    return name + at + digest[:12]


def _configuration(
    before: Mapping[Name, Object], after: Mapping[Name, Object]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Of each file of a ConfigMap that differs, the options that do."""
    for name in sorted(before.keys() & after.keys()):
        if name.kind != "ConfigMap":
            continue
        old, new = before[name].get("data") or {}, after[name].get("data") or {}
        for file in sorted(old.keys() & new.keys()):
            if old[file] != new[file]:
                one, other = _options(file, old[file]), _options(file, new[file])
                named = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
                yield file, tuple(named)


def _options(file: str, text: str) -> dict[str, Any]:
    """Each option of a file by its name; of one that is no configuration, all of it without one."""
    if file.endswith((".cfg", ".ini")):
        parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
        try:
            parser.read_string(text)
        except configparser.Error:
            return {"": text}
        return {f"[{name}] {key}": value for name in parser.sections() for key, value in parser[name].items()}
    if file.endswith((".yaml", ".yml")):
        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError:
            return {"": text}
        if isinstance(found, dict):
            return dict(_flat(found))
    return {"": text}


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, one in value.items():
        if isinstance(one, dict) and one and not path.count("."):
            yield from _flat(one, f"{path}{key}.")
        else:
            yield f"{path}{key}", one
