"""Fields that the API server lets nobody change, of the kinds that a release has.

The source is Kubernetes' validation of each kind (``pkg/apis/*/validation``).
"""

from __future__ import annotations

from typing import NamedTuple

from airflow_platform.plan.manifest import Name, Object, differences

#: Kind to the paths that cannot change.
_FIELDS: dict[str, tuple[str, ...]] = {
    "ClusterRoleBinding": ("roleRef",),
    "DaemonSet": ("spec.selector",),
    "Deployment": ("spec.selector",),
    "Job": ("spec.selector", "spec.template", "spec.completionMode"),
    "PersistentVolumeClaim": ("spec.accessModes", "spec.selector", "spec.storageClassName", "spec.volumeMode"),
    "PriorityClass": ("value", "preemptionPolicy"),
    "RoleBinding": ("roleRef",),
    "Secret": ("type",),
    "Service": ("spec.clusterIP",),
    "StorageClass": ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"),
}
#: Of a StatefulSet all but these is fixed.
_STATEFUL_SET = {
    "minReadySeconds",
    "ordinals",
    "persistentVolumeClaimRetentionPolicy",
    "replicas",
    "revisionHistoryLimit",
    "template",
    "updateStrategy",
}
#: What else is lost with the object, by kind.
_CAREFULLY = {
    "Deployment": " with --cascade=orphan, so that its pods go on until the new one has taken their place",
    "DaemonSet": " with --cascade=orphan, so that its pods go on until the new one has taken their place",
    "StatefulSet": " with --cascade=orphan, so that its pods go on; its claims stay in any case",
    "PersistentVolumeClaim": " after a copy of its data was made: they go with it",
    "Job": "",
}


class Blocked(NamedTuple):
    """A change that the API server refuses, with what to do instead."""

    object: Name
    field: str
    remedy: str


def blocked(name: Name, old: Object, new: Object) -> list[Blocked]:
    """What of a change to one object is refused."""
    fields: list[str] = []
    if name.kind == "StatefulSet":
        spec = differences(old.get("spec"), new.get("spec"))
        fields = sorted({f"spec.{path[0]}" for path in spec if path and path[0] not in _STATEFUL_SET})
    for field in _FIELDS.get(name.kind, ()):
        was, will = _at(old, field), _at(new, field)
        # What a manifest leaves out, the API server has filled in: nobody takes it back.
        if was != will and (will is not None or name.kind in ("Deployment", "Job")):
            fields.append(field)
    if name.kind in ("ConfigMap", "Secret") and old.get("immutable"):
        fields += [part for part in ("data", "stringData", "binaryData") if old.get(part) != new.get(part)]
    return [Blocked(name, field, remedy(name)) for field in fields]


def _at(one: Object, field: str) -> object:
    value: object = one
    for key in field.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def remedy(name: Name) -> str:
    """What makes room for another object of the name."""
    where = f" --namespace {name.namespace}" if name.namespace else ""
    how = _CAREFULLY.get(name.kind, "")
    return f"delete it first (kubectl delete {name.kind.lower()} {name.name}{where}){how}"
