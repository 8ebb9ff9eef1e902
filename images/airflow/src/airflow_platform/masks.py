"""Secrets that a task's templates put into its pod: what the pod prints of them is masked, as in a worker's log.

Airflow masks what a process has asked for: a connection's password, a variable with a sensitive name. The phase that
renders the templates has; the triggerer, which reads what the pod prints, has not. So the phase notes on the pod where
they stand in it, and the triggerer reads them from there. What they are is written nowhere else.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote

import aiohttp
from airflow.sdk._shared.secrets_masker.secrets_masker import _secrets_masker
from kubernetes.client import models as k8s

from airflow_platform.cluster import ApiError, Cluster

#: Where they stand: [[container, what of it, which one, first character, the one after the last], …].
ANNOTATION = "airflow-platform/masked"
#: What a secret is replaced by, as Airflow has it.
_MASK = "***"
#: Places that are noted; more than a pod has, unless it is made of them. Kubernetes takes 256 KiB of annotations.
_MOST = 1_000
#: Seconds until the cluster is asked again that has not answered.
_PAUSE = 1.0
#: The variable of ``airflow.providers.cncf.kubernetes.decorators.kubernetes`` with a function's arguments.
_PYTHON_INPUT = "__PYTHON_INPUT"
#: What `re.escape` puts before a character; Airflow keeps its secrets so.
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def places(pod: k8s.V1Pod) -> dict[str, str]:
    """The annotation for a pod in which what this process masks stands; empty where nothing does."""
    if not (patterns := _secrets_masker().patterns):
        return {}
    # In a URL it is percent-encoded.
    encoded = {re.escape(quote(_ESCAPED.sub(r"\1", pattern), safe=safe)) for pattern in patterns for safe in ("", "/")}
    replacer, spec = _any_of({*patterns, *encoded}), pod.spec
    found = [
        [container, kind, which, *match.span()]
        for container, kind, which, text in _texts([*(spec.init_containers or []), *spec.containers])
        for match in replacer.finditer(text)
    ]
    return {ANNOTATION: json.dumps(found[:_MOST], separators=(",", ":"))} if found else {}


class Masks:
    """What of one pod's words is secret.

    Args:
        cluster, namespace, name: the pod.
    """

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster, self._path = cluster, f"/api/v1/namespaces/{namespace}/pods/{name}"
        self._secrets: re.Pattern[str] | None = None
        #: Whether it is known, and the pod's words may be shown.
        self.known = False

    async def learn(self, pod: dict[str, Any], seconds: float = 0) -> str:
        """Read it from the pod, unless it is known or the pod has none.

        Args:
            pod: as a watch shows it, without its environment.
            seconds: for how long that is tried.

        Returns:
            Why it could not be read; empty where it could.
        """
        noted = (pod["metadata"].get("annotations") or {}).get(ANNOTATION)
        deadline = time.monotonic() + seconds
        while not self.known:
            if not noted:
                self.known = True
                break
            try:
                self._secrets = _pattern(noted, (await self._cluster.request("GET", self._path))["spec"])
                self.known = True
            except (ApiError, aiohttp.ClientError, OSError) as error:
                gone = isinstance(error, ApiError) and error.status == 404
                if gone or time.monotonic() >= deadline:
                    return str(error) or type(error).__name__
                await asyncio.sleep(_PAUSE)
        return ""

    def mask(self, text: str) -> str:
        """The text without what is secret."""
        return self._secrets.sub(_MASK, text) if self._secrets else text

    def shown(self, text: str) -> str:
        """The same; nothing of it while it is not known what is secret."""
        return self.mask(text) if self.known else ""

    def masked(self, pod: dict[str, Any]) -> dict[str, Any]:
        """The pod, with what is said of its containers as `shown`."""
        return pod if self.known and not self._secrets else masked(pod, self.shown)


def of(pod: dict[str, Any]) -> Callable[[str], str]:
    """What masks a text about a pod with its environment, as the API server has it."""
    noted = (pod["metadata"].get("annotations") or {}).get(ANNOTATION)
    secrets = _pattern(noted, pod["spec"]) if noted else None
    return (lambda text: secrets.sub(_MASK, text)) if secrets else str


def masked(pod: dict[str, Any], mask: Callable[[str], str] | None = None) -> dict[str, Any]:
    """The pod, with what is said of its containers masked; ``mask`` is by default what `of` gives."""
    mask = mask or of(pod)
    status = dict(pod.get("status") or {})
    for kind in ("initContainerStatuses", "containerStatuses"):
        if status.get(kind):
            status[kind] = [_said(one, mask) for one in status[kind]]
    return {**pod, "status": status}


def _said(container: dict[str, Any], mask: Callable[[str], str]) -> dict[str, Any]:
    found = dict(container)
    for key in ("state", "lastState"):
        for name, state in (container.get(key) or {}).items():
            if message := (state or {}).get("message"):
                found[key] = {name: {**state, "message": mask(message)}}
    return found


def _pattern(noted: str, spec: dict[str, Any]) -> re.Pattern[str] | None:
    """What stands at these places; None where nothing does, as somebody has changed the pod or the note."""
    # A variable may be there twice.
    texts: dict[tuple, list[str]] = {}
    for *place, text in _texts([*(spec.get("initContainers") or []), *(spec.get("containers") or [])]):
        texts.setdefault(tuple(place), []).append(text)
    try:
        wanted = json.loads(noted)
        found = {text[first:last] for *place, first, last in wanted for text in texts.get(tuple(place), ())} - {""}
    except (ValueError, TypeError):
        return None
    # What is percent-encoded, as in a URL, may be printed by whoever has decoded it.
    found |= {unquote(secret) for secret in found}
    return _any_of(map(re.escape, found)) if found else None


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    # The longest first: one may begin as another does.
    return re.compile("|".join(sorted(patterns, key=len, reverse=True)))


def _texts(containers: list[Any]) -> Iterator[tuple[str, str, str | int, str]]:
    """(container, what of it, which one, its text) of all that a template may have made; models, or the API's dicts."""
    for container in containers:
        name = _get(container, "name")
        for one in _get(container, "env") or []:
            if text := _get(one, "value"):
                yield name, "env", _get(one, "name"), str(text)
                if _get(one, "name") == _PYTHON_INPUT:
                    yield name, "input", 0, _decoded(text)
        for kind in ("command", "args"):
            for place, text in enumerate(_get(container, kind) or []):
                yield name, kind, place, str(text)


def _decoded(text: str) -> str:
    """What `@task.kubernetes` calls its function with: pickled, in base64."""
    try:
        return base64.b64decode(text).decode(errors="surrogateescape")
    except ValueError:
        return ""


def _get(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, dict) else getattr(part, name, None)
