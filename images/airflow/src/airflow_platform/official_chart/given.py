"""Values of the official chart, as files give them: merged as helm merges them, with the line of every key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any, ClassVar

import yaml

from airflow_platform.command_error import CommandError
from airflow_platform.official_chart.defaults import Path, is_default, is_known, like, paths, releases

#: What begins the name of a map that only holds YAML anchors: the official chart's schema takes any key at the top.
_ANCHORS = ("x-", "_", ".")


class ValuesError(CommandError):
    """A file cannot be read as values of the official chart; the message says which, where, and what to do."""


class _Loader(yaml.SafeLoader):
    """Reads y and n as helm does: they are booleans."""

    bool_values: ClassVar = {**yaml.SafeLoader.bool_values, "y": True, "n": False}


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("[yYnN]$"), list("yYnN"))


@dataclass
class Given:
    """What the files set, without what is the chart's default all the same."""

    values: dict[str, Any] = field(default_factory=dict)
    #: Where each key was set last, as ``file:line``.
    places: dict[Path, str] = field(default_factory=dict)

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a path with dots, or the default."""
        found: Any = self.values
        for key in path.split("."):
            if not isinstance(found, Mapping) or key not in found:
                return default
            found = found[key]
        return found

    def place(self, path: str) -> str:
        """Where a path was set, ``file:line``; empty if it was not."""
        return self.places.get(tuple(path.split(".")), "")


def read(names: Sequence[str]) -> Given:
    """Read the files; later ones win, as with ``helm --values``.

    Raises:
        ValuesError: a file is missing, is no YAML, or has keys that the official chart does not.
    """
    given, unknown = Given(), []
    for name in names:
        for path, value, line in _keys(name):
            if path[0].startswith(_ANCHORS) or path[0] == "global":
                continue
            place = f"{name}:{line}"
            if not is_known(path):
                if not any(path[: len(other)] == other for other, _ in unknown):
                    unknown.append((path, place))
                continue
            given.places[path] = place
            _put(given.values, path, value)
    if unknown:
        raise ValuesError("\n".join(_unknown(path, place) for path, place in unknown))
    given.values = _changed(given.values, ())
    return given


def _unknown(path: Path, place: str) -> str:
    if path == ("airflow",):
        return f"{place}: airflow is a dependency of a chart of yours: write what is below it to a file of its own"
    near = like(path)
    hint = f"did you mean {near}?" if near else "take it out, or correct it"
    return f"{place}: {'.'.join(path)} is no value of the official chart ({releases()}): {hint}"


def _keys(name: str) -> Iterator[tuple[Path, Any, int]]:
    """Every key of a file, a map before what is in it: path, value, line. A map's value is an empty one."""
    try:
        text = File(name).read_text()
    except OSError as error:
        raise ValuesError(f"{name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValuesError(f"{name}: is no text in UTF-8") from error
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return
        if not isinstance(node, yaml.MappingNode):
            raise ValuesError(f"{name}:{node.start_mark.line + 1}: values are a map of keys, such as `executor: …`")
        yield from _of_map(loader, node, ())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark else name
        raise ValuesError(f"{place}: is no YAML: {getattr(error, 'problem', None) or error}") from error
    finally:
        loader.dispose()


def _of_map(loader: yaml.SafeLoader, node: yaml.MappingNode, path: Path) -> Iterator[tuple[Path, Any, int]]:
    # Merge keys (<<) become keys.
    loader.flatten_mapping(node)
    for key, value in node.value:
        below = (*path, str(loader.construct_object(key, deep=True)))
        line = key.start_mark.line + 1
        if isinstance(value, yaml.MappingNode):
            yield below, {}, line
            yield from _of_map(loader, value, below)
        else:
            yield below, loader.construct_object(value, deep=True), line


def _put(values: dict[str, Any], path: Path, value: Any) -> None:
    for key in path[:-1]:
        values = values[key]
    if not (value == {} and isinstance(values.get(path[-1]), dict)):
        values[path[-1]] = value


def _changed(values: Mapping[str, Any], path: Path) -> dict[str, Any]:
    # A null takes a default out: nothing is carried over for it, as our chart has defaults of its own.
    found = {}
    for key, value in values.items():
        below = (*path, key)
        if value is None or is_default(below, value):
            continue
        if isinstance(value, Mapping) and value:
            value = _changed(value, below)
            if not value and below not in paths():
                continue
        found[key] = value
    return {key: value for key, value in found.items() if value != {}}
