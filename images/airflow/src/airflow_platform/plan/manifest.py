"""Kubernetes objects of a rendered manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

Object = Mapping[str, Any]

#: Labels that say which version an object was rendered by. A difference in them changes nothing that runs.
_OF_VERSION = ("app.kubernetes.io/version", "helm.sh/chart")


class ManifestError(ValueError):
    """The text is no manifest; the message says where it is not."""


class Name(NamedTuple):
    """What identifies an object. The group is that of its API, without the version."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def read(text: str, namespace: str) -> dict[Name, Object]:
    """The objects of a manifest: YAML documents. What names no namespace is taken to be of ``namespace``.

    Raises:
        ManifestError: it is not YAML, or a document is no object of Kubernetes'.
    """
    found: dict[Name, Object] = {}
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise ManifestError(f"it is not YAML: {error}") from None
    for one in documents:
        if one is None:
            continue
        if not isinstance(one, dict) or not {"apiVersion", "kind", "metadata"} <= one.keys():
            raise ManifestError(f"a document of it is no object of Kubernetes': {str(one)[:80]!r}")
        metadata = one["metadata"]
        # Hooks are no part of what an upgrade changes.
        if "helm.sh/hook" in (metadata.get("annotations") or {}):
            continue
        group = one["apiVersion"].rpartition("/")[0]
        found[Name(group, one["kind"], metadata.get("namespace") or namespace, metadata["name"])] = one
    return found


def component(one: Object) -> str:
    """Which part of the release an object is of; empty where it does not say."""
    return label(one, "app.kubernetes.io/component")


def label(one: Object, name: str) -> str:
    """The value of a label; empty where there is none."""
    return (one["metadata"].get("labels") or {}).get(name, "")


def without_version(one: Object) -> Object:
    """The object without the labels that say which version of the chart it is of."""
    labels = {key: value for key, value in (one["metadata"].get("labels") or {}).items() if key not in _OF_VERSION}
    return {**one, "metadata": {**one["metadata"], "labels": labels}}


def differences(old: Any, new: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths at which two values differ.

    An entry of a list is named by its ``name``, where all have one, else the list differs as a whole.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), (*path, key))
    elif (one := _by_name(old)) is not None and (other := _by_name(new)) is not None:
        yield from differences(one, other, path)
    elif old != new:
        yield path


def _by_name(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, list) or not all(isinstance(one, dict) and "name" in one for one in value):
        return None
    return {one["name"]: one for one in value}
