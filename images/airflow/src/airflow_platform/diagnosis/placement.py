"""The pod has no node: what the scheduler misses, and how much of it there is.

The reasons are those of the scheduler's plugins (k8s.io/kubernetes, pkg/scheduler/framework/plugins). Its message is
"0/N nodes are available: <of the pod>. <n reason, n reason>. <of preemption>" (pkg/scheduler/framework/types.go,
``FitError``): either one reason for all nodes, or a count of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from airflow_platform.diagnosis.case import LASTING, Case, Json, first_seen, last_seen, seconds
from airflow_platform.diagnosis.crowd import pool_of
from airflow_platform.diagnosis.node import (
    TAINTS_OF_KUBERNETES,
    allocatable,
    has_labels,
    known_values,
    selector_phrase,
    untolerated,
)
from airflow_platform.diagnosis.quantity import Amounts, amounts, asked, number, phrase, portion, together
from airflow_platform.diagnosis.verdict import Kind, Verdict, quoted

_AVAILABLE = re.compile(r"0/(\d+) nodes are available: (.*)", re.DOTALL)
#: What the plugins say that make room: it is no reason of the nodes'.
_PREEMPTION = re.compile(r"(?:^| )(?:preemption: |no new claims to deallocate).*", re.DOTALL)
_COUNTED = re.compile(r"(\d+) (.+?)(?=, \d+ |\.(?:\s|$)|$)")

_AFFINITY = "node(s) didn't match Pod's node affinity/selector"
_INSUFFICIENT = "Insufficient "
_TOO_MANY_PODS = "Too many pods"
_CORDONED = "node(s) were unschedulable"
#: 1.36, then older ones, which name it: "node(s) had untolerated taint {gpu: true}".
_TAINT = re.compile(r"node\(s\) had (?:untolerated taint\(s\)|(?:untolerated )?taint \{([^}:]+)(?:: ?([^}]*))?\}.*)")

#: volumebinding/volume_binding.go.
_CLAIM_MISSING = re.compile(r"persistentvolumeclaim \"([^\"]+)\" not found")
_CLAIM_ENDS = re.compile(r"persistentvolumeclaim \"([^\"]+)\" is being deleted")
_CLAIM_LOST = re.compile(r"persistentvolumeclaim \"([^\"]+)\" bound to non-existent persistentvolume \"([^\"]+)\"")
_CLAIM_UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
#: volumebinding/binder.go, volumezone, nodevolumelimits, volumerestrictions; the second is the first in older releases.
_VOLUME_ELSEWHERE = (
    "node(s) didn't match PersistentVolume's node affinity",
    "node(s) had volume node affinity conflict",
    "node(s) had no available volume zone",
)
_NO_VOLUME = ("node(s) didn't find available persistent volumes to bind", "node(s) did not have enough free storage")
_VOLUME_BUSY = (
    "node(s) exceed max volume count",
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod",
)

#: Events of those that add nodes: cluster-autoscaler's, Karpenter's.
_NODE_COMES = ("TriggeredScaleUp", "Nominated")
#: Seconds for which such an event holds.
_NODE_TAKES = 900

#: The annotation of a pod whose nodes are added as they are needed, and its value.
NODES_ANNOTATION, ADDED = "airflow-platform/nodes", "added-as-needed"

#: Seconds until a pod that is held back is told. Who holds it back may let it go at once, or is asked for more by then.
_GATED = 8

#: What the rest of the reasons mean, for a person.
_PLAIN = {
    _AFFINITY: "without the label that it asks for",
    _TOO_MANY_PODS: "with as many pods as fit",
    _CORDONED: "closed to new pods",
    "node(s) didn't have free ports for the requested pod ports": "where the port is taken",
    "node(s) didn't match the requested node name": "of another name",
    "node(s) didn't match pod topology spread constraints": "where the pod would break its spreading rule",
    "node(s) didn't match pod affinity rules": "without the pods that it wants beside it",
    "node(s) didn't match pod anti-affinity rules": "with pods that it does not want beside it",
    "node(s) didn't satisfy existing pods anti-affinity rules": "with pods that do not want it beside them",
    **dict.fromkeys(_VOLUME_ELSEWHERE, "that its volume cannot be used on"),
    **dict.fromkeys(_NO_VOLUME, "without a volume for it"),
    _VOLUME_BUSY[0]: "with as many volumes as fit",
    _VOLUME_BUSY[1]: "that its volume, in use by another pod, keeps it from",
}


@dataclass(frozen=True)
class _Search:
    """A pod that looks for a node, and the nodes."""

    case: Case
    message: str
    since: float | None

    @cached_property
    def total(self) -> int | None:
        """How many nodes the scheduler counts."""
        found = _AVAILABLE.search(self.message)
        return int(found[1]) if found else None

    @cached_property
    def body(self) -> str:
        found = _AVAILABLE.search(self.message)
        return _PREEMPTION.sub("", found[2] if found else self.message).strip()

    @cached_property
    def reasons(self) -> dict[str, int]:
        """Nodes by the reason that each gave; empty where one reason holds for all."""
        return {reason: int(count) for count, reason in _COUNTED.findall(self.body)}

    @cached_property
    def nodes(self) -> Sequence[Json]:
        """The nodes; none where the scheduler knows of more than are given here: then nothing follows from them."""
        return self.case.nodes if len(self.case.nodes) >= (self.total or 0) else ()

    @cached_property
    def labelled(self) -> list[Json]:
        """The nodes that have the labels."""
        return [one for one in self.nodes if has_labels(one, self.case.spec)]

    @cached_property
    def open(self) -> list[Json]:
        """Of these, the nodes whose taints the pod tolerates; where its tolerations are not known, all."""
        tolerations = self.case.spec.get("tolerations")
        if tolerations is None:
            return self.labelled
        return [one for one in self.labelled if not untolerated(one, tolerations)]

    @cached_property
    def asked(self) -> Amounts:
        return {name: amount for name, amount in asked(self.case.pod).items() if amount}

    @property
    def pool(self) -> str:
        """The nodes by their label, for a sentence."""
        selector = self.case.spec.get("nodeSelector") or {}
        return f" with label {selector_phrase(selector)}" if selector else ""

    @property
    def where(self) -> str:
        """Where the pod is to run, for a sentence: its node pool by the name that its task gives, else the nodes."""
        name = pool_of(self.case.pod)
        return f"pool {name}" if name else f"a node{self.pool}"

    @property
    def ahead(self) -> str:
        """How many tasks wait for the same, and go first; empty where that is not known."""
        if self.case.crowd is None:
            return ""
        count = self.case.crowd.ahead(self.case.pod)
        return f"{count or 'no'} task{'' if count <= 1 else 's'} ahead"

    @property
    def settled(self) -> bool:
        """Whether the scheduler has said the same for so long that it will not heal by itself.

        Only its events tell: the condition's time is that of its first refusal, for whatever reason, and a node that
        is on its way is an event as well.
        """
        same = [one for one in self.case.said("FailedScheduling") if _same(one.get("message") or "", self.message)]
        return any(self.case.lasts(first_seen(one)) for one in same)

    @property
    def grows(self) -> bool:
        """Whether nodes are added as they are needed: then nothing that the present ones lack is final."""
        return (self.case.metadata.get("annotations") or {}).get(NODES_ANNOTATION) == ADDED

    def no_node_yet(self, what: str) -> Verdict:
        return self.verdict(
            "no-node-yet", "capacity",
            f"Pod {self.case.name} waits until a node is added that {what}; no present one does. If none comes, "
            "whoever runs the cluster must look at what adds them.",
            retry_helps=None,
        )  # fmt: skip

    def count(self, *reasons: str) -> int:
        return sum(self.reasons.get(reason, 0) for reason in reasons)

    def verdict(
        self, cause: str, kind: Kind, sentence: str, *, object_kind: str = "pod", name: str = "", **more: Any
    ) -> Verdict:
        return Verdict(
            cause=cause,
            kind=kind,
            object_kind=object_kind,
            object=name or self.case.name,
            since=self.since,
            sentence=sentence,
            **more,
        )


def without_node(case: Case) -> Verdict | None:
    """Why the pod has no node."""
    if case.node_name or case.phase != "Pending":
        return None
    condition = case.condition("PodScheduled")
    if not condition:
        return _not_considered(case)
    message = condition.get("message") or next(
        (one.get("message") or "" for one in reversed(case.own_events) if one.get("reason") == "FailedScheduling"), ""
    )
    search = _Search(case, message, seconds(condition.get("lastTransitionTime")) or case.created)
    if condition.get("reason") == "SchedulingGated":
        return _gated(search)
    if condition.get("reason") == "SchedulerError":
        return search.verdict(
            "scheduler-error", "platform",
            f"The scheduler failed with pod {case.name} ({quoted(message)}) and tries again; whoever runs the cluster "
            "must look at it if this goes on.",
            retry_helps=None,
        )  # fmt: skip
    return next((verdict for rule in _RULES if (verdict := rule(search))), None)


def _not_considered(case: Case) -> Verdict | None:
    if case.created is None or case.now - case.created < LASTING:
        return None
    scheduler = case.spec.get("schedulerName") or "default-scheduler"
    return Verdict(
        cause="scheduler-silent",
        kind="platform",
        object_kind="scheduler",
        object=scheduler,
        since=case.created,
        certain=False,
        sentence=f"Scheduler {scheduler} has not looked at pod {case.name} for {case.now - case.created:.0f} s; "
        "whoever runs the cluster must see whether it runs.",
    )


def _gated(search: _Search) -> Verdict | None:
    """pkg/registry/core/pod/strategy.go. Kueue holds pods back so (`queue` knows why), and others."""
    gates = ", ".join(one["name"] for one in search.case.spec.get("schedulingGates") or [])
    if not gates or search.case.now - (search.since or 0) < _GATED:
        return None  # the scheduler has not looked at the pod since it was let go, or it may be at once
    return search.verdict(
        "held-back", "capacity",
        f"Pod {search.case.name} is held back by {gates}, and starts once that lets it go.",
        object_kind="scheduling gate", name=gates, retry_helps=None,
    )  # fmt: skip


def _claim(search: _Search) -> Verdict | None:
    case, body = search.case, search.body
    if found := _CLAIM_MISSING.search(body):
        return search.verdict(
            "volume-claim-missing", "user",
            f"Pod {case.name} needs the volume claim {found[1]}, which does not exist in namespace {case.namespace}; "
            "create it, or correct the name.",
            object_kind="volume claim", name=found[1], final=search.settled, retry_helps=False,
        )  # fmt: skip
    if found := _CLAIM_ENDS.search(body):
        return search.verdict(
            "volume-claim-deleted", "user",
            f"Pod {case.name} needs the volume claim {found[1]}, which is being deleted; create it again.",
            object_kind="volume claim", name=found[1], retry_helps=False,
        )  # fmt: skip
    if found := _CLAIM_LOST.search(body):
        return search.verdict(
            "volume-lost", "platform",
            f"The volume claim {found[1]} of pod {case.name} belongs to volume {found[2]}, which does not exist any "
            "more; restore that volume, or create the claim anew.",
            object_kind="volume claim", name=found[1], retry_helps=False,
        )  # fmt: skip
    if _CLAIM_UNBOUND in body:
        claims, at_fault = _claims(case)
        return search.verdict(
            "volume-claim-unbound", "platform",
            f"Pod {case.name} waits for its volume{claims}, which has not been created yet; if this goes on, "
            "check the storage class of its volume claim.",
            retry_helps=None, **at_fault,
        )  # fmt: skip
    return None


def _node_comes(search: _Search) -> Verdict | None:
    """A node is on its way: nothing that the present ones lack is final."""
    events = [one for one in search.case.said(*_NODE_COMES) if search.case.now - (last_seen(one) or 0) < _NODE_TAKES]
    if not events:
        return None
    return search.verdict(
        "node-comes", "capacity",
        f"Pod {search.case.name} waits for a node that is being added for it; nothing is to be done.",
        retry_helps=None,
    )  # fmt: skip


def _makes_room(search: _Search) -> Verdict | None:
    """The scheduler has found a node, and stops pods there."""
    case = search.case
    if not case.status.get("nominatedNodeName"):
        return None
    return search.verdict(
        "makes-room", "capacity",
        f"Pod {case.name} is about to start on node {case.status['nominatedNodeName']}, where pods of lower priority "
        "are stopped for it.",
        retry_helps=None,
    )  # fmt: skip


def _no_label(search: _Search) -> Verdict | None:
    """No node has the labels. Known from the nodes, or from a message in which all nodes say so.

    ``nodeSelector`` or the node affinity: without the nodes, only a pod that is known in full tells which.
    """
    case = search.case
    none_has_it = search.nodes and not search.labelled and _AFFINITY in search.reasons
    if not none_has_it and not (search.total and search.count(_AFFINITY) == search.total):
        return None
    selector = case.spec.get("nodeSelector") or {}
    if search.grows:
        return search.no_node_yet(f"has the label {selector_phrase(selector)}" if selector else "has what it asks for")
    if selector and not any(has_labels(one, {"nodeSelector": selector}) for one in search.nodes):
        object_kind, wanted = "label", selector_phrase(selector)
        known = known_values(search.nodes, selector)
        sentence = f"No node has the label {wanted} that pod {case.name} asks for{known}"
    else:
        object_kind, wanted = "pod", case.name
        sentence = f"No node has the labels that the node affinity of pod {case.name} asks for"
    certain = bool(search.nodes) or ("tolerations" in case.spec and not case.spec.get("affinity"))
    return search.verdict(
        "no-node-with-label", "user", f"{sentence}; correct it, or have such a node added.",
        object_kind=object_kind, name=wanted, final=certain and search.settled, retry_helps=False, certain=certain,
    )  # fmt: skip


def _tainted(search: _Search) -> Verdict | None:
    """Nodes with the labels are there, and every one has a taint that the pod does not tolerate."""
    case, tolerations = search.case, search.case.spec.get("tolerations")
    named = [found for reason in search.reasons if (found := _TAINT.fullmatch(reason))]
    if search.nodes and tolerations is not None:
        if not search.labelled or search.open:
            return None
        of_nodes = [{one["key"] for one in untolerated(node, tolerations)} for node in search.labelled]
    elif len(named) == len(search.reasons) and named:
        # All nodes have taints, as the scheduler counts them.
        of_nodes = [{found[1]} - {None} for found in named]
    else:
        return None
    # A node that only Kubernetes has closed may be opened again: it is the one to wait for.
    passing = [keys for keys in of_nodes if keys and all(key.startswith(TAINTS_OF_KUBERNETES) for key in keys)]
    taints = ", ".join(sorted(set().union(*(passing or of_nodes))))
    if passing:
        return search.verdict(
            "nodes-not-ready", "infrastructure",
            f"Every node{search.pool} that pod {case.name} may run on is out of order or closed ({taints}); whoever "
            "runs the cluster must look at that.",
            retry_helps=True,
        )  # fmt: skip
    return search.verdict(
        "taint-not-tolerated", "user",
        f"Every node{search.pool} is reserved{f' (taint {taints})' if taints else ' by a taint'}, and pod {case.name} "
        "does not tolerate it; use a pool that the task may run in, or add the toleration.",
        # A taint without a name may be one that Kubernetes takes away again.
        object_kind="taint" if taints else "pod", name=taints, retry_helps=False, certain=bool(taints),
    )  # fmt: skip


def _too_big(search: _Search) -> Verdict | None:
    """The pod asks for more than any of its nodes has when empty. Taints are no matter: they may go."""
    case = search.case
    sizes = [allocatable(one) for one in search.labelled]
    if not search.asked or not sizes or not all(sizes):
        return None
    if any(all(amount <= size.get(name, 0) for name, amount in search.asked.items()) for size in sizes):
        return None
    if search.grows:
        return search.no_node_yet(f"has {together(search.asked)}")
    for name, amount in search.asked.items():
        largest = max(size.get(name, Decimal(0)) for size in sizes)
        if amount <= largest:
            continue
        if not largest:
            # A device plugin that starts again takes its devices away for a moment.
            return search.verdict(
                "no-node-with-resource", "user",
                f"Pod {case.name} asks for {phrase(name, amount)}, and no node{search.pool} has any {name}; use a pool "
                "that does, or have its device plugin checked.",
                object_kind="resource", name=name, retry_helps=None, certain=f"{_INSUFFICIENT}{name}" in search.reasons,
            )  # fmt: skip
        return search.verdict(
            "too-big-for-any-node", "user",
            f"Pod {case.name} asks for {phrase(name, amount)}, and the largest node{search.pool} has "
            f"{phrase(name, largest)}, so it can never run; ask for less, or use a pool of larger nodes.",
            final=True, retry_helps=False,
        )  # fmt: skip
    return search.verdict(
        "too-big-for-any-node", "user",
        f"Pod {case.name} asks for {together(search.asked)}, and no single node{search.pool} has all of that, so it "
        "can never run; ask for less, or use a pool of larger nodes.",
        final=True, retry_helps=False,
    )  # fmt: skip


def _volume(search: _Search) -> Verdict | None:
    pod, (claims, at_fault) = search.case.name, _claims(search.case)
    if search.count(*_VOLUME_ELSEWHERE):
        return search.verdict(
            "volume-elsewhere", "user",
            f"The volume of pod {pod}{claims} can be used only on nodes of another place than those that the "
            "task may run on; let the task run there, or give it another volume.",
            retry_helps=None, certain=_all(search, *_VOLUME_ELSEWHERE), **at_fault,
        )  # fmt: skip
    if search.count(*_NO_VOLUME):
        return search.verdict(
            "no-volume", "capacity",
            f"There is no free volume of the size that pod {pod} asks for{claims} on the nodes that it may run "
            "on; whoever runs the cluster must add storage.",
            retry_helps=True, certain=_all(search, *_NO_VOLUME), **at_fault,
        )  # fmt: skip
    if search.count(*_VOLUME_BUSY):
        return search.verdict(
            "volume-busy", "capacity",
            f"Pod {pod} waits for a volume{claims}: it is in use by another pod, or the nodes have as "
            "many as fit.",
            retry_helps=True, certain=_all(search, *_VOLUME_BUSY), **at_fault,
        )  # fmt: skip
    return None


def _claims(case: Case) -> tuple[str, dict[str, str]]:
    """The pod's volume claims in brackets, and as what is at fault; nothing where it is known without its volumes."""
    sources = [one.get("persistentVolumeClaim") or {} for one in case.spec.get("volumes") or []]
    names = ", ".join(one["claimName"] for one in sources if one.get("claimName"))
    return (f" ({names})", {"object_kind": "volume claim", "name": names}) if names else ("", {})


def _all(search: _Search, *reasons: str) -> bool:
    """Whether all nodes gave one of these reasons, taints aside: then nothing else keeps the pod from running."""
    others = {one for one in search.reasons if one not in reasons and not _TAINT.fullmatch(one)}
    return not others


def _no_room(search: _Search) -> Verdict | None:
    """There are nodes that could hold the pod, and they are full."""
    case = search.case
    short = [one.removeprefix(_INSUFFICIENT) for one in search.reasons if one.startswith(_INSUFFICIENT)]
    if not short:
        if not search.count(_TOO_MANY_PODS):
            return None
        return search.verdict(
            "no-room", "capacity",
            f"Pod {case.name} waits for a place on {search.where}{_brackets(search.ahead)}: nodes there run as many "
            "pods as they may; it starts when other pods have ended.",
            retry_helps=True,
        )  # fmt: skip
    wanted = {name: search.asked[name] for name in short if name in search.asked}
    what = together(wanted) if wanted else " and ".join(short)
    return search.verdict(
        "no-room", "capacity",
        f"Pod {case.name} waits for {what} on {search.where}{_brackets(_use(search, list(wanted)), search.ahead)}; it "
        "starts when other pods have ended, or with smaller requests.",
        retry_helps=True,
    )  # fmt: skip


def _brackets(*texts: str) -> str:
    said = ", ".join(text for text in texts if text)
    return f" ({said})" if said else ""


def _use(search: _Search, names: Sequence[str]) -> str:
    """How much of what the pod waits for is free on its nodes, where all pods there are known; else how much of it
    tasks ask for; else the size of the largest node. Empty where the nodes are not known."""
    sizes = [allocatable(one) for one in search.open]
    if not sizes or not names:
        return ""
    number_of = f" on {len(sizes)} nodes" if len(sizes) > 1 else ""
    taken = [one.get("requested") for one in search.open]
    if all(requested is not None for requested in taken):
        requested = [amounts(one) for one in taken]
        return f"free {' and '.join(_free(name, sizes, requested, number_of) for name in names)}"
    if search.case.crowd is not None:
        used = search.case.crowd.on((one.get("metadata") or {}).get("name") or "" for one in search.open)
        parts = [portion(name, used.get(name, Decimal(0)), sum(_each(name, sizes))) for name in names]
        return f"tasks ask for {' and '.join(parts)}{number_of}"
    largest = [phrase(name, max(_each(name, sizes))) for name in names]
    return f"of {len(sizes)}, the largest has {' and '.join(largest)}, in use or free"


def _free(name: str, sizes: Sequence[Amounts], requested: Sequence[Amounts], number_of: str) -> str:
    """What is free in all and, as a pod has to fit on one node, the most on one."""
    free = [max(size - used, Decimal(0)) for size, used in zip(_each(name, sizes), _each(name, requested), strict=True)]
    most = f"{number_of}, at most {number(name, max(free))} on one" if number_of else ""
    return f"{portion(name, sum(free), sum(_each(name, sizes)))}{most}"


def _each(name: str, of: Iterable[Amounts]) -> list[Decimal]:
    return [one.get(name, Decimal(0)) for one in of]


def _elsewise(search: _Search) -> Verdict:
    """Any other reasons, or several at once, in plain words."""
    case = search.case
    said = [f"{count} {_PLAIN.get(reason) or _unplain(reason)}" for reason, count in search.reasons.items()]
    if search.total and said:
        nodes = f"of {search.total}: {', '.join(said)}"
    else:
        nodes = quoted(search.body) or "the scheduler does not say why"
    return search.verdict(
        "no-node-fits", "capacity",
        f"No node can take pod {case.name} now ({nodes}); it waits until one can.",
        retry_helps=None,
    )  # fmt: skip


def _unplain(reason: str) -> str:
    if found := _TAINT.fullmatch(reason):
        return f"reserved by a taint{f' ({found[1]})' if found[1] else ''}"
    if reason.startswith(_INSUFFICIENT):
        return f"without enough {reason.removeprefix(_INSUFFICIENT)}"
    return f"that say {quoted(reason)}"


#: The first that holds. What the pod itself lacks, then a node that comes, then what no present node will ever give
#: (label, taint, size), then what may come free.
_RULES = (
    _claim,
    _node_comes,
    _makes_room,
    _no_label,
    _tainted,
    _too_big,
    _volume,
    _no_room,
    _elsewise,
)


def _same(event: str, message: str) -> bool:
    """Whether an event, which has 1024 characters at most (pkg/scheduler/schedule_one.go), is of this message."""
    return event[:1000] == message[:1000]
