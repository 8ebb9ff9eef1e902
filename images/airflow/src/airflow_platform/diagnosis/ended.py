"""The pod, or its base container, has ended: how."""

from __future__ import annotations

import re
from signal import Signals
from typing import Any

from airflow_platform.diagnosis.case import Case, Json, first_seen, seconds
from airflow_platform.diagnosis.verdict import Verdict, quoted

#: Airflow ends this one itself (airflow.providers.cncf.kubernetes.utils.xcom_sidecar).
_XCOM_SIDECAR = "airflow-xcom-sidecar"

#: Seconds after the end of the base container in which what is beside it may end as well.
_WINDING_UP = 10

#: What kubelet writes before the reason for which it does not take a pod (pkg/kubelet/kubelet.go, ``rejectPod``).
_REJECTED = "Pod was rejected: "
#: pkg/kubelet/lifecycle/predicate.go, ``InsufficientResourcePrefix``.
_OUT_OF = "OutOf"
#: Rejections by which the pod is at fault: another node of the same kind rejects it as well
#: (pkg/kubelet/lifecycle, pkg/kubelet/sysctl).
_UNFIT = {
    "AppArmor", "SysctlForbidden", "PodOSNotSupported", "PodOSSelectorNodeLabelDoesNotMatch",
    "InitContainerRestartPolicyForbidden", "SupplementalGroupsPolicyNotSupported", "PodFeatureUnsupported",
    "PodLevelResourcesNotSupported",
}  # fmt: skip

#: pkg/kubelet/eviction/helpers.go.
_LOW_ON = re.compile(r"The node was low on resource: ([^.\s]+)\.")
_CONSUMER = re.compile(r"(?:Container|Pod) (\S+) was using (\S+), request is (\S+),")
_OVER_LIMIT = re.compile(
    r"Container (?P<container>\S+) exceeded its local ephemeral storage limit \"(?P<a>[^\"]+)\""
    r"|ephemeral local storage usage exceeds the total limit of containers (?P<b>\S+?)\.(?:\s|$)"
    r"|Usage of EmptyDir volume \"(?P<volume>[^\"]+)\" exceeds the limit \"(?P<c>[^\"]+)\""
)

#: What containerd and kubelet report where they did not see the end (containerd, internal/cri/server/helpers.go;
#: pkg/kubelet/container/runtime.go).
_END_UNSEEN = {"ContainerStatusUnknown", "Unknown"}

#: What a signal means, for a person.
_MEANING = {
    "SIGKILL": "was killed from outside",
    "SIGTERM": "was asked to stop",
    "SIGINT": "was interrupted",
    "SIGHUP": "was cut off from its terminal",
    "SIGSEGV": "crashed by a wrong memory access (segmentation fault)",
    "SIGABRT": "gave up by itself (abort)",
    "SIGBUS": "crashed by a wrong memory access (bus error)",
    "SIGILL": "met an instruction that this processor does not have",
    "SIGFPE": "crashed by a wrong calculation, as a division by zero",
    "SIGPIPE": "wrote to something that had closed",
    "SIGXCPU": "used up its CPU time",
    "SIGSYS": "made a system call that is not allowed",
}


def succeeded(case: Case) -> bool:
    """Whether the task's work is done and well."""
    if case.phase == "Succeeded":
        return True
    end = case.base_end
    return case.phase != "Failed" and end is not None and end.get("exitCode") == 0


def held_open(case: Case) -> Verdict | None:
    """The work is done, but the pod goes on, because a container beside it does not end."""
    if case.phase == "Succeeded" or case.metadata.get("deletionTimestamp") or case.deleted:
        return None
    others = [one["name"] for one in case.statuses if not (one.get("state") or {}).get("terminated")]
    others = [name for name in others if not case.is_sidecar(name) and name != _XCOM_SIDECAR]
    since = seconds(case.base_end.get("finishedAt"))
    if not others or since is None or case.now - since < _WINDING_UP:
        return None
    return Verdict(
        cause="container-holds-pod",
        kind="user",
        object_kind="container",
        object=others[0],
        container=others[0],
        retry_helps=False,
        since=since,
        sentence=f"Container {case.base} of pod {case.name} is done, but container {others[0]} is not and keeps the "
        "pod from ending; make it stop, or make it an init container with restartPolicy Always.",
    )


def rejected(case: Case) -> Verdict | None:
    """The node that the pod was given did not take it: no container was started."""
    reason, message = case.status.get("reason") or "", case.status.get("message") or ""
    if case.phase != "Failed" or case.ever_ran or not message.startswith(_REJECTED):
        return None
    said = quoted(message.removeprefix(_REJECTED))
    unfit = reason in _UNFIT
    if reason.startswith(_OUT_OF):
        what = f"had not enough {reason.removeprefix(_OUT_OF)} left when pod {case.name} arrived"
    else:
        what = f"did not accept pod {case.name} ({reason}: {said})"
    return Verdict(
        cause="rejected-by-node",
        kind="user" if unfit else "infrastructure",
        object_kind="node",
        object=_node(case),
        final=True,
        retry_helps=not unfit,
        since=seconds(case.status.get("startTime")) or case.created,
        sentence=f"Node {_node(case)} {what}, so the task did not start; "
        + ("correct the task's settings, as no node will." if unfit else "try again, another node may take it."),
    )


def evicted(case: Case) -> Verdict | None:
    """Kubelet stopped the pod because its node ran out of something, or the pod used more disk than it may."""
    if case.status.get("reason") != "Evicted" or case.phase != "Failed":
        return None
    message = case.status.get("message") or ""
    since = _disrupted_at(case) or _first(case, "Evicted")
    if over := _OVER_LIMIT.search(message):
        limit = over["a"] or over["b"] or over["c"]
        what = f"its volume {over['volume']}" if over["volume"] else "its containers' files and logs"
        return Verdict(
            cause="disk-limit-exceeded",
            kind="user",
            object_kind="pod",
            object=case.name,
            container=over["container"],
            final=True,
            retry_helps=False,
            since=since,
            sentence=f"Pod {case.name} was stopped because {what} took more disk than the limit of {limit}; write "
            "less, or raise that limit.",
        )
    low = _LOW_ON.search(message)
    users = {found[1]: found for found in _CONSUMER.finditer(message)}
    user = users.get(case.base) or next(iter(users.values()), None)
    used = f", in which {user[1]} used {user[2]} and had asked for {user[3]}" if user else ""
    return Verdict(
        cause="evicted",
        kind="infrastructure",
        object_kind="node",
        object=_node(case),
        container=user[1] if user and case.container(user[1]) else None,
        final=True,
        retry_helps=True,
        since=since,
        sentence=(
            f"Node {_node(case)} ran out of {low[1]} and stopped pod {case.name}{used}; try again, and ask for as much "
            f"{low[1]} as the task needs."
            if low
            else f"Node {_node(case)} was short of something and stopped pod {case.name} "
            f"({quoted(message) or 'it does not say of what'}); try again."
        ),
    )


def node_shut_down(case: Case) -> Verdict | None:
    """pkg/kubelet/nodeshutdown: "Terminated" for a pod that ran, "NodeShutdown" for one that came too late."""
    reason, message = case.status.get("reason"), case.status.get("message") or ""
    if reason not in ("Terminated", "NodeShutdown") or "shut" not in message:
        return None
    return Verdict(
        cause="node-shutdown",
        kind="infrastructure",
        object_kind="node",
        object=_node(case),
        final=case.phase == "Failed",
        retry_helps=True,
        since=_disrupted_at(case),
        sentence=f"Node {_node(case)} was shut down or restarted, and stopped pod {case.name}; try again, it will run "
        "on another node.",
    )


def deadline_exceeded(case: Case) -> Verdict | None:
    """pkg/kubelet/active_deadline.go."""
    if case.status.get("reason") != "DeadlineExceeded":
        return None
    allowed = case.spec.get("activeDeadlineSeconds")
    limit = f"the {allowed} s" if allowed else "the time"
    return Verdict(
        cause="deadline-exceeded",
        kind="user",
        object_kind="pod",
        object=case.name,
        final=True,
        retry_helps=False,
        since=case.finished,
        sentence=f"Pod {case.name} ran longer than {limit} that its active_deadline_seconds allows, and was stopped; "
        "raise it, or make the task faster.",
    )


def container_ended(case: Case) -> Verdict | None:
    """A container has ended other than well: the base container first, then one that kept it from starting."""
    failed = _failed(case)
    if not failed:
        return None
    status, end, final = failed
    known = {
        "object_kind": "container",
        "object": status["name"],
        "container": status["name"],
        "exit_code": end.get("exitCode"),
        "since": seconds(end.get("finishedAt")),
        "final": final,
    }
    who = f"{'Init container' if case.is_init(status['name']) else 'Container'} {status['name']} of pod {case.name}"
    return next(verdict for rule in _ENDS if (verdict := rule(case, end, who, known)))


def _failed(case: Case) -> tuple[Json, Json, bool] | None:
    """Status and end of the container to blame, and whether it has ended for good."""

    def rank(status: Json) -> tuple[bool, bool]:
        return status["name"] != case.base, not case.is_init(status["name"])

    for status in sorted(case.statuses, key=rank):
        name, state = status["name"], status.get("state") or {}
        if case.phase != "Failed" and name != case.base and (not case.is_init(name) or case.is_sidecar(name)):
            continue
        end = state.get("terminated")
        if not end and (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff":
            end = (status.get("lastState") or {}).get("terminated")
        if end and end.get("exitCode") != 0:
            return status, end, not case.restarts(name)
    return None


def _out_of_memory(case: Case, end: Json, who: str, known: dict[str, Any]) -> Verdict | None:
    """containerd says OOMKilled of whichever process of the container was killed, so of a child as well
    (internal/cri/server/events.go); the exit code is the main process's own.
    """
    if end.get("reason") != "OOMKilled":
        return None
    resources = case.container(known["container"]).get("resources") or {}
    limit = (resources.get("limits") or {}).get("memory")
    itself = end.get("exitCode") == 137
    what = "ran out of memory" if itself else "had a process killed for lack of memory"
    return Verdict(
        cause="out-of-memory",
        kind="user",
        retry_helps=False if limit else None,
        sentence=f"{who} {what} ({f'its limit is {limit}' if limit else 'it has no limit of its own'}) and ended with "
        f"exit code {end.get('exitCode')}; give it more memory, or make it use less.",
        **known,
    )


#: Why a container's process could not be started, in the words of runc ("chdir to cwd": libcontainer/init_linux.go),
#: of github.com/moby/sys/user, and of Go (os/exec, lp_unix.go, and the system's errors).
_NOT_STARTED = (
    (re.compile(r"chdir to cwd \(\\?\"([^\"\\]*)\\?\"\)"), "working-directory-missing",
     "cannot enter its working directory {0}"),
    # libcontainer/rootfs_linux.go makes the directory where it is not there.
    (re.compile(r"container init: mkdir (\S+): not a directory"), "working-directory-missing",
     "cannot enter its working directory {0}"),
    (re.compile(r"unable to find user (\S+?):"), "user-missing",
     "has to run as user {0}, which its image does not have"),
    (re.compile(r"exec:? \\?\"?([^\"\\\s:]+)\\?\"?:? exec format error"), "wrong-architecture",
     "has a program {0} that is built for another kind of processor, or is a script without a first line #!"),
    (re.compile(r"exec: \\?\"([^\"\\]*)\\?\": .*?(?:executable file not found|no such file or directory)"),
     "command-not-found", "was to run the command {0}, which is not in its image"),
    (re.compile(r"exec: \\?\"([^\"\\]*)\\?\": .*?permission denied"), "command-not-executable",
     "was to run the command {0}, which may not be executed"),
)  # fmt: skip


def in_short(text: str) -> str:
    """The runtime's words without the frames around them: runc's, and containerd's around those."""
    return quoted(re.sub(r".*(?:unable to start container process|error during container init): ", "", text))


def could_not_start(text: str) -> tuple[str, str] | None:
    """Cause and clause for the runtime's words; None where no rule knows them."""
    for pattern, cause, clause in _NOT_STARTED:
        if found := pattern.search(text):
            return cause, clause.format(found[1])
    return None


def _not_started(case: Case, end: Json, who: str, known: dict[str, Any]) -> Verdict | None:
    """containerd's "StartError", exit code 128 (internal/cri/server/container_start.go)."""
    message = end.get("message") or ""
    if end.get("reason") != "StartError":
        return None
    if found := could_not_start(message):
        cause, clause = found
        return Verdict(
            cause=cause,
            kind="user",
            retry_helps=False,
            sentence=f"{who} {clause}; correct the task's command or its image.",
            **known,
        )
    return Verdict(
        cause="container-start-failed",
        kind="user",
        retry_helps=None,
        certain=False,
        sentence=f"{who} could not be started: {in_short(message) or 'the node does not say why'}.",
        **known,
    )


def _end_unseen(case: Case, end: Json, who: str, known: dict[str, Any]) -> Verdict | None:
    if end.get("reason") not in _END_UNSEEN:
        return None
    known = {**known, "exit_code": None}
    return Verdict(
        cause="container-lost",
        kind="infrastructure",
        retry_helps=True,
        certain=False,
        sentence=f"{who} was lost: node {_node(case)} does not know how it ended, most likely because the node or its "
        "container runtime was restarted; try again.",
        **known,
    )


def _probe_failed(case: Case, end: Json, who: str, known: dict[str, Any]) -> Verdict | None:
    """pkg/kubelet/kuberuntime/kuberuntime_manager.go: the event that says why a container is killed. Of one that is not
    started again it gives no reason: then it is the probe's own event (pkg/kubelet/prober/prober.go)."""
    name = known["container"]
    killed = any(case.said("Killing", text=f"ontainer {name}"))
    for probe in ("liveness", "startup"):
        failed = (one for one in case.said("Unhealthy", text=f"{probe.capitalize()} probe failed") if _is_of(one, name))
        if any(case.said("Killing", text=f"ontainer {name} failed {probe} probe")) or (killed and any(failed)):
            return Verdict(
                cause="probe-failed",
                kind="user",
                retry_helps=None,
                sentence=f"{who} was stopped because its {probe} probe failed; correct the probe, or take it away.",
                **known,
            )
    return None


def _hook_failed(case: Case, end: Json, who: str, known: dict[str, Any]) -> Verdict | None:
    """pkg/kubelet/kuberuntime/kuberuntime_container.go, ``startContainer``."""
    if not any(_is_of(one, known["container"]) for one in case.said("FailedPostStartHook")):
        return None
    return Verdict(
        cause="post-start-hook-failed",
        kind="user",
        retry_helps=None,
        sentence=f"{who} was stopped because its postStart hook failed; correct it.",
        **known,
    )


def _is_of(event: Json, container: str) -> bool:
    """Whether an event is of this container; one that names none may be."""
    path = (event.get("involvedObject") or {}).get("fieldPath")
    return not path or path == f"spec.containers{{{container}}}"


def _wrong_architecture(case: Case, end: Json, who: str, known: dict[str, Any]) -> Verdict | None:
    """Said where ``terminationMessagePolicy`` takes the log's end; else only the log has it."""
    if "exec format error" not in (end.get("message") or ""):
        return None
    return Verdict(
        cause="wrong-architecture",
        kind="user",
        retry_helps=False,
        sentence=f"{who} has a program that is built for another kind of processor, or is a script without a first "
        "line #!; build the image for the node's processor.",
        **known,
    )


def _by_shell(case: Case, end: Json, who: str, known: dict[str, Any]) -> Verdict | None:
    """POSIX, Shell Command Language, 2.8.2: what a shell ends with. A program may do so too."""
    code = end.get("exitCode")
    if code not in (126, 127):
        return None
    missing = code == 127
    return Verdict(
        cause="command-not-found" if missing else "command-not-executable",
        kind="user",
        retry_helps=False,
        certain=False,
        sentence=f"{who} ended with exit code {code}, by which a shell says that a command "
        f"{'was not found' if missing else 'could not be executed'}; its log says which, correct it or the image.",
        **known,
    )


def _by_signal(case: Case, end: Json, who: str, known: dict[str, Any]) -> Verdict | None:
    """128 + n is how a container that signal n has ended is told; a program may also choose that number itself."""
    code = end.get("exitCode") or 0
    number = end.get("signal") or code - 128
    try:
        name = Signals(number).name
    except ValueError:
        return None
    what = _MEANING.get(name, "was stopped by it")
    advice = {
        "SIGKILL": "if it may have run out of memory give it more, else see what ran on the node",
        "SIGTERM": "if the task was not stopped on purpose, try again",
    }.get(name, "its log may say where")
    cause = {"SIGKILL": "killed", "SIGTERM": "terminated", "SIGSEGV": "segmentation-fault", "SIGABRT": "aborted"}
    return Verdict(
        cause=cause.get(name, "signal"),
        kind="user",
        retry_helps=None,
        signal=name,
        certain=bool(end.get("signal")),
        sentence=f"{who} ended with exit code {code}, which stands for signal {name}: most likely it {what}; {advice}.",
        **known,
    )


def _by_exit_code(case: Case, end: Json, who: str, known: dict[str, Any]) -> Verdict:
    said = quoted(end.get("message"))
    return Verdict(
        cause="exit-code",
        kind="user",
        retry_helps=None,
        sentence=f"{who} ended with exit code {end.get('exitCode')}"
        f"{f' and said: {said}' if said else '; its log says why'}.",
        **known,
    )


#: The first that knows the end: what Kubernetes says, then what the exit code stands for.
_ENDS = (
    _out_of_memory,
    _not_started,
    _end_unseen,
    _probe_failed,
    _hook_failed,
    _wrong_architecture,
    _by_shell,
    _by_signal,
    _by_exit_code,
)


def failed_somehow(case: Case) -> Verdict | None:
    """The pod has failed, and nothing that is known says why."""
    if case.phase != "Failed":
        return None
    said = quoted(": ".join(text for text in (case.status.get("reason"), case.status.get("message")) if text))
    return Verdict(
        cause="unknown",
        kind="infrastructure",
        object_kind="pod",
        object=case.name,
        final=True,
        certain=False,
        since=case.finished,
        sentence=f"Pod {case.name} failed, and Kubernetes says "
        + (f"only this: {said}." if said else "nothing of why; its log, if there is one, may."),
    )


def _node(case: Case) -> str:
    return case.node_name or "of the pod"


def _disrupted_at(case: Case) -> float | None:
    return seconds(case.condition("DisruptionTarget").get("lastTransitionTime"))


def _first(case: Case, reason: str) -> float | None:
    return next((first_seen(one) for one in case.said(reason)), None)
