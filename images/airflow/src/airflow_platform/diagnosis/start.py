"""The pod has a node, and its containers do not start: configuration, volumes, network, the container runtime."""

from __future__ import annotations

import re
from typing import Any

from airflow_platform.diagnosis.case import Case, Json, first_seen
from airflow_platform.diagnosis.ended import could_not_start, in_short
from airflow_platform.diagnosis.verdict import Kind, Verdict, quoted

#: Kubelet's reasons of a container that it could not create or start (kuberuntime/kuberuntime_container.go).
_CONFIG = "CreateContainerConfigError"
_CREATE = ("CreateContainerError", "PreCreateHookError", "PreStartHookError", "RunContainerError")
_HOOK = "PostStartHookError"
#: Reasons of a container that has not been tried yet.
_NOT_YET = (None, "", "ContainerCreating", "PodInitializing")

#: k8s.io/apimachinery's ``NewNotFound`` and pkg/kubelet/kubelet_pods.go, ``makeEnvironmentVariables``.
_MISSING = re.compile(r"\b(secret|configmap)s? \"([^\"]+)\" not found")
_NO_KEY = re.compile(r"couldn't find key (\S+) in (Secret|ConfigMap) [^/\s]+/(\S+)")
#: pkg/volume/secret/secret.go, pkg/volume/configmap/configmap.go.
_NO_KEY_IN_VOLUME = re.compile(r"references non-existent (secret|config) key: (\S+)")
#: pkg/kubelet/util/manager: kubelet has not read the object yet.
_NOT_READ_YET = re.compile(r"failed to sync (secret|configmap) cache|object \"[^\"]+\"/\"[^\"]+\" not registered")
#: pkg/kubelet/kuberuntime/security_context_others.go.
_ROOT = re.compile(r"container has runAsNonRoot and image (?:will run as root|has non-numeric user \((?P<user>[^)]*)\))"
                   r"|runAsUser breaks non-root policy")  # fmt: skip
_SUB_PATH = re.compile(r"[sS]ub[pP]ath.* for volumeMount \"([^\"]+)\"|SubPath `([^`]*)`")

_NAMES = {"secret": "secret", "configmap": "config map", "config": "config map"}

#: Events of a pod whose volumes or network are not ready (pkg/kubelet/events/event.go).
_NOT_READY = (
    "FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox", "NetworkNotReady",
    "FailedPrepareDynamicResources", "FailedCreatePodContainer",
)  # fmt: skip
#: Events that come after these: what they told is over.
_READY = ("Pulling", "Pulled", "Created", "Started")

_VOLUME = re.compile(r"for volume \"([^\"]+)\"")
_UNMOUNTED = re.compile(r"unmounted volumes=\[([^\]]*)\]")
#: containerd, internal/cri; the words after it are the network plugin's own.
_NETWORK = re.compile(r"failed to setup network for sandbox \"[^\"]*\": (.*)", re.DOTALL)
_NO_ADDRESS = re.compile(r"no (?:more )?(?:available )?IP(?: addresses)? (?:addresses )?available", re.IGNORECASE)
_NO_RUNTIME = re.compile(r"no runtime for \"([^\"]+)\" is configured")


def not_started(case: Case) -> Verdict | None:
    """The first container that kubelet tries to start and cannot."""
    if case.phase not in ("Pending", "Running"):
        return None
    for status in case.statuses:
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, message = waiting.get("reason"), waiting.get("message") or ""
        if reason in _NOT_YET or reason == "CrashLoopBackOff":
            continue
        since = _first(case, message) or case.starts_since
        if reason == _CONFIG:
            return _misconfigured(case, status["name"], message, since)
        if reason in _CREATE:
            return _not_created(case, status["name"], message, since)
        return _other(case, status["name"], reason, message, since)
    return None


def not_prepared(case: Case) -> Verdict | None:
    """No container has been tried: the newest event of those that come before says why."""
    if case.phase != "Pending" or any(one.get("containerID") for one in case.statuses):
        return None
    steps = [one for one in case.own_events if one.get("reason") in (*_NOT_READY, *_READY)]
    if not steps or steps[-1].get("reason") in _READY:
        return None
    events = [one for one in steps if one.get("reason") in _NOT_READY]
    # Kubelet sums up its tries every two minutes, without the reason: the newest event that names one says more.
    event = next((one for one in reversed(events) if not _is_sum(one)), events[-1])
    reason, message = event["reason"], event.get("message") or ""
    alike = [one for one in events if one.get("reason") == reason and one.get("message") == event.get("message")]
    since = min((at for one in alike if (at := first_seen(one)) is not None), default=None)
    if reason in ("FailedMount", "FailedAttachVolume", "FailedMapVolume"):
        return _volume(case, reason, message, since)
    if reason in ("FailedCreatePodSandBox", "NetworkNotReady"):
        return _no_sandbox(case, message, since)
    return _verdict(
        case, "pod-not-prepared", "infrastructure",
        f"Node {case.node_name} cannot prepare pod {case.name} ({quoted(message)}); it tries again.",
        object_kind="node", name=case.node_name, since=since, retry_helps=True, certain=False,
    )  # fmt: skip


def _misconfigured(case: Case, container: str, message: str, since: float | None) -> Verdict:
    who = f"Container {container} of pod {case.name}"
    known = {"container": container, "since": since}
    if found := _NOT_READ_YET.search(message):
        return _not_read_yet(case, known)
    if found := _MISSING.search(message):
        kind, name = _NAMES[found[1]], found[2]
        return _verdict(
            case, f"{kind.replace(' ', '-')}-missing", "user",
            f"{who} needs the {kind} {name}{_variable(case, container, name)}, which does not exist in namespace "
            f"{case.namespace}; create it, or correct the name.",
            object_kind=kind, name=name, final=case.stops(since), retry_helps=False, **known,
        )  # fmt: skip
    if found := _NO_KEY.search(message):
        key, kind, name = found[1], _NAMES[found[2].lower()], found[3]
        return _verdict(
            case, f"{kind.replace(' ', '-')}-key-missing", "user",
            f"{who} needs the key {key} of the {kind} {name}{_variable(case, container, name, key)} in namespace "
            f"{case.namespace}, which has no such key; add it, or correct the name.",
            object_kind=kind, name=name, final=case.stops(since), retry_helps=False, **known,
        )  # fmt: skip
    if found := _ROOT.search(message):
        image = case.container(container).get("image") or "of the task"
        user = f"as {found['user']}, whose number is not known" if found["user"] else "as root"
        return _verdict(
            case, "runs-as-root", "user",
            f"{who} may not run as root, and image {image} would run it {user}; set a numeric user other than 0 in the "
            "image or in the task's security context.",
            object_kind="image", name=image, final=not case.base_runs, retry_helps=False, **known,
        )  # fmt: skip
    if found := _SUB_PATH.search(message):
        return _verdict(
            case, "sub-path-unusable", "user",
            f"{who} cannot use the sub_path of its volume {found[1] or found[2]} ({quoted(message)}); correct it.",
            object_kind="volume", name=found[1] or found[2], retry_helps=None, **known,
        )  # fmt: skip
    return _other(case, container, _CONFIG, message, since)


def _variable(case: Case, container: str, name: str, key: str | None = None) -> str:
    """The environment variable that takes from this object; empty where the pod is known without its environment."""
    for variable in case.container(container).get("env") or []:
        source = variable.get("valueFrom") or {}
        of = source.get("secretKeyRef") or source.get("configMapKeyRef") or {}
        if of.get("name") == name and key in (None, of.get("key")):
            return f" for its variable {variable['name']}"
    return ""


def _not_read_yet(case: Case, known: dict[str, Any]) -> Verdict:
    return _verdict(
        case, "configuration-not-read", "transient",
        f"Node {case.node_name} has not read the secrets and config maps of pod {case.name} yet; it tries again.",
        object_kind="node", name=case.node_name, retry_helps=True, **known,
    )  # fmt: skip


def _not_created(case: Case, container: str, message: str, since: float | None) -> Verdict:
    """containerd could not create or start the container."""
    who = f"Container {container} of pod {case.name}"
    known = {"object_kind": "container", "name": container, "container": container, "since": since}
    if found := could_not_start(message):
        cause, clause = found
        return _verdict(
            case, cause, "user", f"{who} {clause}; correct the task's command or its image.",
            final=case.stops(since), retry_helps=False, **known,
        )  # fmt: skip
    if "no command specified" in message:  # containerd, internal/cri/opts/spec_opts.go
        return _verdict(
            case, "command-missing", "user",
            f"{who} has no command, and neither has its image; give the task one.",
            final=not case.base_runs, retry_helps=False, **known,
        )  # fmt: skip
    if re.search(r"context deadline exceeded|is reserved for", message):  # container_create.go: one is under way
        return _verdict(
            case, "node-overloaded", "infrastructure",
            f"Node {case.node_name} is slow to create container {container} of pod {case.name}; it tries again.",
            retry_helps=True, **known,
        )  # fmt: skip
    if "no space left on device" in message:
        return _verdict(
            case, "node-disk-full", "infrastructure",
            f"Node {case.node_name} has no disk space left to create container {container} of pod {case.name}; whoever "
            "runs the cluster must make room.",
            retry_helps=True, **known,
        )  # fmt: skip
    return _verdict(
        case, "container-not-created", "infrastructure",
        f"{who} cannot be created on node {case.node_name} ({in_short(message) or 'it does not say why'}); it tries "
        "again.",
        retry_helps=None, certain=False, **known,
    )  # fmt: skip


def _other(case: Case, container: str, reason: str, message: str, since: float | None) -> Verdict:
    known = {"object_kind": "container", "name": container, "container": container, "since": since}
    if reason == _HOOK:
        return _verdict(
            case, "post-start-hook-failed", "user",
            f"Container {container} of pod {case.name} was stopped because its postStart hook failed; correct it.",
            retry_helps=None, **known,
        )  # fmt: skip
    return _verdict(
        case, "container-waits", "infrastructure",
        f"Container {container} of pod {case.name} waits ({reason}: {quoted(message) or 'no more is said'}).",
        retry_helps=None, certain=False, **known,
    )  # fmt: skip


def _volume(case: Case, reason: str, message: str, since: float | None) -> Verdict:
    found = _VOLUME.search(message) or _UNMOUNTED.search(message)
    volume = found[1] if found and found[1] else "of the pod"
    what = f"Volume {volume} of pod {case.name}"
    known = {"object_kind": "volume", "name": volume, "since": since}
    if _NOT_READ_YET.search(message):
        return _not_read_yet(case, {"since": since})
    if missing := _MISSING.search(message):
        kind, name = _NAMES[missing[1]], missing[2]
        return _verdict(
            case, f"{kind.replace(' ', '-')}-missing", "user",
            f"{what} needs the {kind} {name}, which does not exist in namespace {case.namespace}; create it, or "
            "correct the name.",
            object_kind=kind, name=name, since=since, final=case.stops(since), retry_helps=False,
        )  # fmt: skip
    if missing := _NO_KEY_IN_VOLUME.search(message):
        kind = _NAMES[missing[1]]
        return _verdict(
            case, f"{kind.replace(' ', '-')}-key-missing", "user",
            f"{what} needs the key {missing[2]} of a {kind} that has no such key; add it, or correct the name.",
            final=case.stops(since), retry_helps=False, **known,
        )  # fmt: skip
    if "Multi-Attach error" in message:  # pkg/controller/volume/attachdetach/reconciler
        return _verdict(
            case, "volume-busy", "capacity",
            f"{what} is still attached to another node, where a pod may be using it; it waits until it is free.",
            retry_helps=True, **known,
        )  # fmt: skip
    if "not found in the list of registered CSI drivers" in message:  # pkg/volume/csi/csi_client.go
        return _verdict(
            case, "volume-driver-missing", "platform",
            f"{what} cannot be used on node {case.node_name}, where its storage driver does not run; whoever runs the "
            "cluster must start it there.",
            retry_helps=True, **known,
        )  # fmt: skip
    if "hostPath type check failed" in message:
        return _verdict(
            case, "host-path-missing", "user",
            f"{what} is a path of node {case.node_name} that is not what it should be "
            f"({quoted(message.rpartition(': ')[2])}); correct the path, or create it there.",
            final=case.stops(since), retry_helps=None, **known,
        )  # fmt: skip
    step = "attached to" if reason == "FailedAttachVolume" else "mounted on"
    return _verdict(
        case, "volume-not-mounted", "infrastructure",
        f"{what} cannot be {step} node {case.node_name} ({quoted(message)}); it tries again.",
        retry_helps=None, certain=False, **known,
    )  # fmt: skip


def _is_sum(event: Json) -> bool:
    return (event.get("message") or "").startswith("Unable to attach or mount volumes")


def _no_sandbox(case: Case, message: str, since: float | None) -> Verdict:
    node = case.node_name or "of the pod"
    known = {"object_kind": "node", "name": node, "since": since}
    if found := _NO_RUNTIME.search(message):
        return _verdict(
            case, "runtime-missing", "platform",
            f"Node {node} has no container runtime {found[1]}, which the runtime class of pod {case.name} asks for; "
            "whoever runs the cluster must install it there.",
            retry_helps=None, **known,
        )  # fmt: skip
    if _NO_ADDRESS.search(message):
        return _verdict(
            case, "no-network-address", "capacity",
            f"Node {node} has no network address left for pod {case.name}; it starts when other pods there have ended.",
            retry_helps=True, **known,
        )  # fmt: skip
    network = _NETWORK.search(message)
    if network or "network is not ready" in message:  # pkg/kubelet/errors.go
        return _verdict(
            case, "network-not-ready", "infrastructure",
            f"Node {node} cannot connect pod {case.name} to the network "
            f"({quoted(network[1] if network else message)}); it tries again, whoever runs the cluster must look at "
            "the node if this goes on.",
            retry_helps=True, **known,
        )  # fmt: skip
    return _verdict(
        case, "pod-not-prepared", "infrastructure",
        f"Node {node} cannot prepare pod {case.name} ({quoted(message)}); it tries again.",
        retry_helps=True, certain=False, **known,
    )  # fmt: skip


def _verdict(case: Case, cause: str, kind: Kind, sentence: str, *, name: str | None, **more: Any) -> Verdict:
    return Verdict(cause=cause, kind=kind, sentence=sentence, object=name or case.name, **more)


def _first(case: Case, message: str) -> float | None:
    """When kubelet said this first: "Error: " and the message of the state are one event (recordContainerEvent)."""
    events = [one for one in case.said("Failed") if message and message in (one.get("message") or "")]
    return min((at for one in events if (at := first_seen(one)) is not None), default=None)
