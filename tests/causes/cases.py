"""The faults: what each is, whose turn it is, and what its line has to name.

What provokes a fault is in ``dags/causes/dag.py`` under the same name, and where that is not enough, in `Case.act`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.causes import acts
from tests.causes.sight import Sight, ended, gone, pod_event, taken, unscheduled, waiting

#: Of the registry that only fails: a name that the nodes are told where it is.
REGISTRY = "causes-registry:5000"
FAILED, SUCCESS = "failed", "success"

Shown = Callable[[Sight], float | None]


@dataclass(frozen=True)
class Case:
    """One fault.

    :param name: of it, and of the task that has it.
    :param what: for the table.
    :param kind: the class that is right, as a verdict has it.
    :param cause: the verdict's id.
    :param words: regular expressions that a text names the fault by: the object at fault, and what is wrong with it.
        Each has to be in it, whoever wrote it.
    :param shown: when Kubernetes shows the fault, from the pod and its events as they came; None: there is no pod, and
        its API server shows it to whoever asks, from the moment that the task begins.
    :param state: the task's at its end, with the platform.
    :param act: what is done to the pod while the task is under way.
    :param heals: of the author's faults: it may end by itself, or somebody else may put it right, so the task waits.
    :param alone: it takes a node from all that runs there, so it has its turn once the others are over.
    """

    name: str
    what: str
    kind: str
    cause: str
    words: tuple[str, ...]
    shown: Shown | None
    state: str = FAILED
    act: acts.Act | None = None
    heals: bool = False
    alone: bool = False

    @property
    def must_stop(self) -> bool:
        """Whether it is of no use to go on."""
        return self.kind == "user" and self.state == FAILED and not self.heals

    def named_in(self, text: str) -> bool:
        """Whether a text names it."""
        return all(re.search(word, text, re.IGNORECASE) for word in self.words)


def _image(name: str, what: str, kind: str, cause: str, *words: str) -> Case:
    reasons = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ErrImageNeverPull")
    return Case(name, what, kind, cause, words, waiting(*reasons))


def _config(name: str, what: str, cause: str, *words: str) -> Case:
    return Case(name, what, "user", cause, words, waiting("CreateContainerConfigError"))


def _volume(name: str, what: str, cause: str, *words: str) -> Case:
    return Case(name, what, "user", cause, words, pod_event("FailedMount"))


def _ended(name: str, what: str, cause: str, *words: str) -> Case:
    return Case(name, what, "user", cause, words, ended)


def _refused(name: str, what: str, kind: str, cause: str, *words: str) -> Case:
    return Case(name, what, kind, cause, words, None)


def _of_node(name: str, what: str, cause: str, act: acts.Act, shown: Shown, *words: str, state: str = SUCCESS) -> Case:
    return Case(name, what, "infrastructure", cause, words, shown, state, act, alone=True)


_NOT_THERE = "not exist|not found|missing"

_ALL = (
    _image(
        "image-missing", "an image that the registry does not have", "user", "image-not-found",
        r"ticket-extract:0\.0\.0", _NOT_THERE,
    ),
    _image(
        "registry-unknown", "a registry whose name nobody knows", "transient", "registry-unreachable",
        r"registry\.causes\.example", "cannot reach|no such host|misbehaving|timeout|lookup",
    ),
    _image(
        "registry-limits", "a registry that answers 429", "transient", "registry-limits-pulls", REGISTRY,
        "limits|429|too many requests",
    ),
    _image(
        "registry-fails", "a registry that answers 503", "transient", "registry-fails", REGISTRY,
        "fails|503|unavailable",
    ),
    _image(
        "registry-denies", "a registry that answers 401", "user", "image-denied", REGISTRY,
        "credentials|401|unauthorized|denied",
    ),
    _image(
        "registry-forbids", "a registry that answers 403", "user", "image-denied", REGISTRY,
        "credentials|403|forbidden|denied",
    ),
    _image(
        "image-not-on-node", "an image that may not be pulled and is not there", "user", "image-not-on-node",
        r"ticket-extract:0\.0\.0", "never|not present",
    ),
    Case(
        "image-name-invalid", "an image name that is none", "user", "image-name-invalid", ("Foo/BAR", "valid"),
        waiting("InvalidImageName"),
    ),
    _config(
        "secret-missing", "a Secret that does not exist, as environment", "secret-missing", "causes-none", _NOT_THERE
    ),
    _config(
        "secret-key-missing", "a key that the Secret does not have", "secret-key-missing", "causes-settings",
        "password", "key",
    ),
    _volume(
        "config-map-missing", "a ConfigMap that does not exist, as a volume", "config-map-missing", "causes-none",
        _NOT_THERE,
    ),
    _volume(
        "secret-volume-missing", "a Secret that does not exist, as a volume", "secret-missing", "causes-none",
        _NOT_THERE,
    ),
    _volume(
        "secret-volume-key-missing", "a key that the Secret of a volume does not have", "secret-key-missing",
        "password", "key",
    ),
    Case(
        "volume-driver-missing", "a storage driver that does not run on the node", "platform", "volume-driver-missing",
        ("settings|storage.causes.example", "driver"), pod_event("FailedMount"),
    ),
    Case(
        "runtime-missing", "a container runtime that the node does not have", "platform", "runtime-missing",
        ("causes", "runtime"), pod_event("FailedCreatePodSandBox"),
    ),
    Case(
        "claim-missing", "a PersistentVolumeClaim that does not exist", "user", "volume-claim-missing",
        ("causes-none", _NOT_THERE), unscheduled,
    ),
    Case(
        "claim-unbound", "a PersistentVolumeClaim of a storage class that does not exist", "platform",
        "volume-claim-unbound", ("causes-unbound", "volume"), unscheduled,
    ),
    Case(
        "volume-elsewhere", "a volume of one node, for a task of another", "user", "volume-elsewhere",
        ("causes-elsewhere", "volume", "node"), unscheduled, heals=True,
    ),
    _ended("command-not-found", "a command that the image does not have", "command-not-found", "causes-command",
        "not in its image|not found|no such file",
    ),
    _ended("shell-not-found", "a shell that does not find its command", "command-not-found", r"\b127\b"),
    _ended(
        "not-executable", "a shell whose command is no program", "command-not-executable", r"\b126\b",
    ),
    _ended(
        "working-directory", "a working directory that is none", "working-directory-missing", "/etc/passwd",
        "director",
    ),
    _ended(
        "no-program", "a file that is no program, as one for another processor", "exit-code",
        r"exit.?code\D{0,3}1\b",
    ),
    _ended("out-of-memory", "a program that uses more memory than its limit", "out-of-memory", "memory|OOM", "64Mi"),
    _ended("child-out-of-memory", "the same of a child process", "out-of-memory", "memory|OOM", "64Mi"),
    _ended(
        "child-out-of-memory-before", "the same, and the program goes on for ten seconds", "out-of-memory",
        "memory|OOM", "64Mi",
    ),
    _ended("probe-fails", "a liveness probe that fails", "probe-failed", "base", "liveness"),
    _ended("hook-fails", "a postStart hook that fails", "post-start-hook-failed", "base", "postStart"),
    Case(
        "killed", "SIGKILL, and not by memory", "user", "killed", (r"\b137\b|SIGKILL",), ended,
        act=acts.kill,
    ),
    _ended("exit-143", "a program that ends itself by SIGTERM", "terminated", r"\b143\b|SIGTERM"),
    _ended("exit-139", "a wrong memory access", "segmentation-fault", r"\b139\b|SIGSEGV|segmentation"),
    _ended("exit-134", "a program that aborts", "aborted", r"\b134\b|SIGABRT"),
    _ended("exit-1", "exit code 1", "exit-code", r"exit.?code\D{0,3}1\b"),
    _ended("exit-3", "exit code 3", "exit-code", r"exit.?code\D{0,3}3\b"),
    Case(
        "no-label", "a label that no node has", "user", "no-node-with-label", (r"gpu\W{1,4}a100", "label|selector"),
        unscheduled,
    ),
    Case(
        "taint", "a taint that the task does not tolerate", "user", "taint-not-tolerated", ("node-pool", "taint"),
        unscheduled, heals=True,
    ),
    Case(
        "no-device", "a device that no node has", "user", "no-node-with-resource",
        (r"causes\.example/card", "no node|insufficient"), unscheduled, heals=True,
    ),
    Case(
        "held-back", "a scheduling gate", "capacity", "held-back", (r"causes\.example/gate", "held|gate"), unscheduled,
        SUCCESS, acts.open_gate,
    ),
    Case(
        "no-room", "more CPU than is free for now", "capacity", "no-room", ("CPU", "waits for|insufficient"),
        unscheduled, SUCCESS, acts.make_room,
    ),
    Case(
        "too-big", "more CPU than any node has", "user", "too-big-for-any-node",
        ("64 CPU|insufficient cpu", "largest|never|not helpful"), unscheduled,
    ),
    Case(
        "disk-limit", "more disk than its limit", "user", "disk-limit-exceeded", ("disk|ephemeral|EmptyDir", "1Mi"),
        taken,
    ),
    Case(
        "own-disk-limit", "more disk than its container's limit", "user", "disk-limit-exceeded",
        ("disk|ephemeral", "1Mi"), taken,
    ),
    Case(
        "preempted", "a pod of higher priority takes its place", "infrastructure", "preempted",
        ("make room|preempt", "priority"), taken, SUCCESS, acts.preempt,
    ),
    Case(
        "drained", "its node is drained", "infrastructure", "drained", ("emptied|evict|drain", "node"), taken, SUCCESS,
        acts.evict,
    ),
    Case(
        "deadline", "activeDeadlineSeconds", "user", "deadline-exceeded",
        ("deadline", r"\b5 ?s|DeadlineExceeded"), taken,
    ),
    Case(
        "deleted", "somebody deletes its pod", "infrastructure", "deleted",
        (r"(was|been|being) deleted|not ?found", r"pods? \S+"), taken,
        act=acts.delete,
    ),
    Case(
        "deleted-by-force", "somebody deletes its pod, without waiting for its end", "infrastructure", "deleted",
        (r"(was|been|being) deleted|not ?found", r"pods? \S+"), gone,
        act=acts.delete_by_force,
    ),
    Case(
        "sidecar", "a container beside the task that does not end", "user", "container-holds-pod",
        ("proxy", "keeps|ending|running"), ended, heals=True,
    ),
    _ended("init-fails", "an init container that fails", "exit-code", "prepare", r"exit.?code\D{0,3}4\b"),
    Case(
        "quota-full", "a quota that is full", "capacity", "quota-full", ("causes-full", "full|exceeded quota"), None,
        SUCCESS, acts.free_quota,
    ),
    _refused(
        "quota-too-small", "more than the quota has in all", "user", "quota-too-small", "causes-small", "never|exceeded"
    ),
    _refused(
        "quota-without-requests", "a quota, and a task that does not say what it needs", "user",
        "quota-needs-resources", "causes-limits", r"limits\.cpu",
    ),
    _refused(
        "pod-security", "a privileged pod where none may be", "user", "pod-security", "Pod ?Security", "privileged"
    ),
    _refused(
        "limit-range", "more memory than the namespace allows one container", "user", "limit-range", "memory", "4Gi",
    ),
    _refused(
        "pod-invalid", "a field that has no valid value", "user", "pod-invalid", "activeDeadlineSeconds",
        "must be|invalid",
    ),
    _refused(
        "policy-denies", "a ValidatingAdmissionPolicy that does not allow it", "user", "policy-denied",
        "causes-policy", "not allow|denied",
    ),
    Case(
        "webhook-away", "an admission webhook that does not answer", "platform", "webhook-unreachable",
        (r"pods\.causes\.example", "webhook"), None, SUCCESS, acts.remove_webhook,
    ),
    _refused(
        "account-missing", "a ServiceAccount that does not exist", "platform", "service-account-missing", "causes-none",
        _NOT_THERE,
    ),
    _refused(
        "class-missing", "a PriorityClass that does not exist", "platform", "priority-class-missing", "causes-none",
        "not exist|no PriorityClass",
    ),
    _refused(
        "runtime-class-missing", "a RuntimeClass that does not exist", "platform", "runtime-class-missing",
        "causes-none", _NOT_THERE,
    ),
    _refused(
        "namespace-missing", "a namespace that does not exist", "platform", "namespace-missing", "causes-none",
        _NOT_THERE,
    ),
    _refused(
        "not-allowed", "a namespace where Airflow may not create pods", "platform", "platform-not-allowed",
        "causes-closed", "may not|cannot create",
    ),
    _refused(
        "namespace-ends", "a namespace that is being deleted", "platform", "namespace-ends", "causes-ends",
        "being deleted|being terminated",
    ),
    _refused(
        "token-invalid", "a token that the cluster does not know", "platform", "platform-not-authenticated",
        "401|unauthorized", "credentials|token|unauthorized",
    ),
    _refused(
        "cluster-away", "a cluster that does not answer", "transient", "cluster-busy", "no answer|refused|unreachable",
        r"127\.0\.0\.1",
    ),
    _of_node(
        "node-closed", "a taint NoExecute on its node", "drained", acts.close_node, taken, "node", "emptied|taint",
    ),
    _of_node(
        "evicted", "its node is short of memory, which others use", "evicted", acts.press_node, taken,
        "node", "ran out of memory|low on resource: memory",
    ),
    _of_node(
        "evicted-over-request", "the same, and the task uses more than it asked for", "evicted", acts.press_node,
        taken, "memory", "had asked for 8Mi|request is 8Mi",
        state=FAILED,
    ),
    _of_node(
        "node-silent", "its node stands still, and goes on", "node-lost", acts.pause_node, pod_event("NodeNotReady"),
        "node", "does not answer|said nothing|not ready",
    ),
    _of_node(
        "node-removed", "its node is gone, and removed from the cluster", "node-removed", acts.remove_node, taken,
        "node", "no longer (part|exists)|not found",
    ),
)  # fmt: skip

CASES = {one.name: one for one in _ALL}
#: A few that are quick and as different as can be.
SHORT = ("too-big", "exit-3", "out-of-memory", "command-not-found", "pod-security")
