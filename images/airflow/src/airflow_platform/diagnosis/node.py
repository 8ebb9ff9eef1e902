"""What the scheduler looks at in a node before it places a pod there: labels, taints, size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_platform.diagnosis.case import Json
from airflow_platform.diagnosis.quantity import Amounts, amounts

#: Taints that Kubernetes sets and takes away by itself (k8s.io/api, core/v1/well_known_taints.go).
TAINTS_OF_KUBERNETES = "node.kubernetes.io/"


def has_labels(node: Json, spec: Json) -> bool:
    """``nodeSelector`` and the required node affinity, as plugins/nodeaffinity has them."""
    labels = labels_of(node)
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    terms = (affinity or {}).get("nodeSelectorTerms") or []
    return not terms or any(_matches(node, term) for term in terms)


def _matches(node: Json, term: Json) -> bool:
    labels, fields = labels_of(node), {"metadata.name": (node.get("metadata") or {}).get("name")}
    wanted = [(labels, one) for one in term.get("matchExpressions") or []]
    wanted += [(fields, one) for one in term.get("matchFields") or []]
    return bool(wanted) and all(
        _holds(of.get(one["key"]), one["operator"], one.get("values") or []) for of, one in wanted
    )


def _holds(value: str | None, operator: str, values: Sequence[str]) -> bool:
    match operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            if value is None or not value.lstrip("-").isdigit():
                return False
            return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])
    # An operator of a newer Kubernetes: no node is ruled out by it.
    return True


def untolerated(node: Json, tolerations: Sequence[Json]) -> list[Json]:
    """The node's taints that keep the pod away (k8s.io/component-helpers, scheduling/corev1, ``ToleratesTaint``)."""
    taints = (node.get("spec") or {}).get("taints") or []
    hard = [one for one in taints if one.get("effect") in ("NoSchedule", "NoExecute")]
    return [one for one in hard if not any(_tolerates(toleration, one) for toleration in tolerations)]


def _tolerates(toleration: Json, taint: Json) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator") in (None, "", "Equal"):
        return (toleration.get("value") or "") == (taint.get("value") or "")
    # "Exists"; or a comparison of a newer Kubernetes: no node is ruled out by it.
    return True


def labels_of(node: Json) -> Mapping[str, str]:
    """The node's labels."""
    return (node.get("metadata") or {}).get("labels") or {}


def selector_phrase(selector: Mapping[str, str]) -> str:
    """A ``nodeSelector`` as a person reads it: "node-pool=gpu, zone=a"."""
    return ", ".join(f"{key}={value}" for key, value in selector.items())


def known_values(nodes: Sequence[Json], selector: Mapping[str, str]) -> str:
    """The values that nodes do have of the labels of a ``nodeSelector`` that none of them has, in brackets."""
    said = []
    for key, value in selector.items():
        values = sorted({labels_of(one)[key] for one in nodes if key in labels_of(one)})
        if value not in values:
            said.append(f"{key} is {', '.join(values)} on the nodes" if values else f"no node has a label {key}")
    if not nodes:
        return ""
    # Else each label is there, but not all on one node.
    return f" ({'; '.join(said) or 'no node has all of these'})"


def allocatable(node: Json) -> Amounts:
    """What pods may ask for on the node when it is empty."""
    return amounts((node.get("status") or {}).get("allocatable"))
