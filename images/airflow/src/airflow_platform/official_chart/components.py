"""Values that the components have: theirs go to one or more of ours, as far as ours have the field."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from airflow_platform.official_chart.conversion import Conversion, Kind

#: Theirs, the more special first, as what is set there wins.
COMPONENTS = (
    "apiServer", "webserver", "scheduler", "dagProcessor", "triggerer", "migrateDatabaseJob",
    "workers.celery", "workers.kubernetes", "workers",
)  # fmt: skip

_EVERY = {
    "serviceAccount.annotations", "resources", "extraEnv", "extraVolumes", "extraVolumeMounts", "extraInitContainers",
    "podAnnotations", "podLabels", "nodeSelector", "tolerations", "affinity",
}  # fmt: skip
_DEPLOYED = _EVERY | {
    "replicas", "strategy", "podDisruptionBudget", "terminationGracePeriodSeconds", "extraContainers",
    "priorityClassName", "topologySpreadConstraints", "startupProbe", "livenessProbe",
}  # fmt: skip

#: The fields of ours.
FIELDS = {
    "apiServer": _DEPLOYED | {"readinessProbe", "autoscaling.hpa"},
    "scheduler": _DEPLOYED,
    "dagProcessor": _DEPLOYED,
    "triggerer": _DEPLOYED,
    "launcher.celery": _DEPLOYED | {"autoscaling.hpa", "autoscaling.keda"},
    "workers": _EVERY,
    "migrations": _EVERY,
}

#: What a component's `resources` and `strategy` have by default in this chart: helm merges maps, so what a file does
#: not name has to be taken out.
RESOURCES = {"requests": ("cpu", "memory"), "limits": ("memory",)}
ROLLING_UPDATE = ("maxUnavailable", "maxSurge")

#: Names that this chart's own containers and volumes have, and its labels by which it finds its pods: it refuses them.
CONTAINERS = {
    "api-server", "scheduler", "dag-processor", "dag-guard", "triggerer", "launcher", "base", "migrations",
    "wait-for-migrations", "wait-for-api-server", "generate-secrets", "git-sync", "git-sync-once", "housekeeping",
    "prepare-backup", "dump", "store-backup", "fetch-backup", "restore", "copy-certificates",
}  # fmt: skip
VOLUMES = {
    "config", "logs", "tmp", "dags", "git-tmp", "git-credentials", "git-ca", "token", "declared", "accepted", "backup",
    "connection", "worker-pod", "broker-ca", "database-ca",
}  # fmt: skip
_LABELS = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}

#: What theirs have by default: a file that sets one of the two keeps the other.
_THEIR_ROLLING_UPDATE = {"maxSurge": "100%", "maxUnavailable": "50%"}
_SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
_TIMING = ("initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold", "successThreshold")


def targets(conversion: Conversion, component: str, field: str) -> list[str]:
    """Where a field of theirs goes: those of ours that stand in for the component and have the field."""
    found = {
        "webserver": ["apiServer"],
        "migrateDatabaseJob": ["migrations"],
        "workers.celery": _for_celery(conversion, field),
        "workers.kubernetes": ["workers"],
        "workers": [*_for_celery(conversion, field), "workers"]
        if _in_workers(conversion, field)
        else _for_celery(conversion, field),
    }.get(component, [component])
    return [one for one in dict.fromkeys(found) if field in FIELDS[one]]


def _for_celery(conversion: Conversion, field: str) -> list[str]:
    if not conversion.celery:
        return []
    # Python tasks that went to Celery's workers have a pod each here, which needs what those pods had.
    alone = "KubernetesExecutor" not in conversion.executors
    return ["launcher.celery", "workers"] if alone and _in_workers(conversion, field) else ["launcher.celery"]


def _in_workers(conversion: Conversion, field: str) -> bool:
    # Resources of a Celery worker are those of many tasks at a time.
    return field != "resources" or not conversion.celery or "KubernetesExecutor" in conversion.executors


def field(name: str, change: Any = None) -> Any:
    """A form that puts the value at the field of this name, after ``change(conversion, component, value)``."""

    def form(conversion: Conversion, component: str, path: str, value: Any) -> None:
        where = targets(conversion, component, name)
        if not where:
            conversion.say(path, Kind.GONE, (), _nowhere(conversion, component, name))
            return
        if change:
            value = change(conversion, component, value)
        # The specific ones come first, and win.
        weak = component in ("webserver", "workers")
        paths = [f"{one}.{name}" for one in where]
        if weak and not (paths := _without(conversion, paths)):
            conversion.say(path, Kind.GONE, (), "what is set for the component itself wins")
            return
        if value not in (None, {}, []) and conversion.put_all(paths, value, weak=weak):
            kind = Kind.FORM if component == "webserver" else Kind.CARRIED
            note = "Airflow 3 has no webserver: its api-server serves the UI" if component == "webserver" else ""
            conversion.say(path, kind, paths, note)

    return form


def _without(conversion: Conversion, paths: list[str]) -> list[str]:
    # Lists of what is extra grow: there is room for more.
    return [one for one in paths if ".extra" in one or conversion.get(one) is None]


def _nowhere(conversion: Conversion, component: str, name: str) -> str:
    if component == "workers.celery" and not conversion.celery:
        return "the executor is not Celery's, so it had no effect"
    if name == "extraContainers":
        return "a worker pod has none beside the task; use extraInitContainers with restartPolicy: Always"
    return "a worker pod runs one task, and has none" if component.startswith("workers") else "there is none here"


def resources(conversion: Conversion, component: str, value: Any) -> dict[str, Any]:
    """Requests and limits as they are given, and no others."""
    if component.startswith("workers") and not _in_workers(conversion, "resources"):
        conversion.hand(
            "they are the launcher's, and every task that is no pod has a worker pod: workers.resources says what that "
            "has, by default what this chart gives it"
        )
    found = {}
    for part, names in RESOURCES.items():
        given = value.get(part) or {}
        found[part] = {**{name: None for name in names if name not in given}, **given}
    return {**value, **found}


def strategy(_: Conversion, component: str, value: Any) -> dict[str, Any]:
    """A Deployment's strategy, and nothing of our default."""
    if value.get("type") == "Recreate":
        return {"type": "Recreate", "rollingUpdate": None}
    theirs = {} if component in ("apiServer", "scheduler", "webserver") else _THEIR_ROLLING_UPDATE
    given = {**theirs, **(value.get("rollingUpdate") or {})}
    return {"type": "RollingUpdate", "rollingUpdate": {name: given.get(name) for name in ROLLING_UPDATE}}


def grace(conversion: Conversion, component: str, value: Any) -> int | None:
    """Seconds of a pod's end; the api-server's have to be more than those that it waits first."""
    if component == "webserver" and int(value) <= 10:
        conversion.hand("an api-server's pod serves for ten seconds more: set apiServer.preStopSleepSeconds too")
        return None
    return int(value)


def labels(conversion: Conversion, component: str, value: Any) -> dict[str, str]:
    """Labels or annotations: all texts, without labels that this chart's own are."""
    for name in sorted(_LABELS & set(value)):
        conversion.hand(
            f"{component} has the label {name}, by which this chart's objects find their pods: leave it out"
        )
    return {
        str(key): str(one).lower() if isinstance(one, bool) else str(one)
        for key, one in value.items()
        if key not in _LABELS
    }


def environment(conversion: Conversion, _: str, value: Any) -> list[dict[str, Any]]:
    """Variables, without secrets."""
    return conversion.environment(value)


def containers(conversion: Conversion, component: str, value: Any) -> list[dict[str, Any]]:
    """Containers, without secrets in their variables, and without names that this chart's containers have."""
    found = []
    for one in value:
        if one.get("name") in CONTAINERS:
            conversion.hand(
                f"{component} has a container {one['name']}, a name that this chart's own has: give it another"
            )
            continue
        found.append({**one, "env": conversion.environment(one["env"])} if one.get("env") else one)
    if any("securityContext" not in one for one in found):
        conversion.say(
            f"{component}: containers", Kind.FORM, (),
            'where the namespace enforces Pod Security "restricted", each needs a securityContext',
        )  # fmt: skip
    return found


def volumes(conversion: Conversion, component: str, value: Any) -> list[dict[str, Any]]:
    """Volumes, but those whose names are the chart's own."""
    for one in value:
        if one.get("name") in VOLUMES:
            conversion.hand(
                f"{component} has a volume {one['name']}, a name that this chart's own has: give it another"
            )
    return [one for one in value if one.get("name") not in VOLUMES]


def mounts(conversion: Conversion, component: str, value: Any) -> list[dict[str, Any]]:
    """Mounts, but those where the chart has something itself."""
    found = []
    for one in value:
        path = str(one.get("mountPath", "")).rstrip("/")
        if path in ("/tmp", "/opt/airflow/logs"):
            conversion.say(f"{component}: mount at {path}", Kind.GONE, (), "a volume of the chart's is mounted there")
        elif path in ("/etc/airflow-platform", "/git"):
            conversion.hand(
                f"{component} mounts a volume at {path}, where this chart mounts its own: choose another path"
            )
        else:
            found.append(one)
    return found


def probe(conversion: Conversion, component: str, value: Any) -> dict[str, Any]:
    """The timing of a probe."""
    left = sorted(set(value) - set(_TIMING))
    if left:
        conversion.say(f"{component}: probe", Kind.GONE, (), f"{', '.join(left)}: what a probe asks is the chart's own")
    return {name: value[name] for name in _TIMING if value.get(name) is not None}


def disruption(conversion: Conversion, component: str, value: Any) -> dict[str, Any] | None:
    """A PodDisruptionBudget, if a drain could keep it."""
    config = value.get("config") or {}
    given = {name: config[name] for name in ("minAvailable", "maxUnavailable") if config.get(name) is not None}
    if str(given.get("maxUnavailable")) in ("0", "0%") or "minAvailable" in given:
        pods = conversion.given.get(f"{component}.replicas", 1)
        least = given.get("minAvailable")
        if isinstance(least, str) and least.endswith("%"):
            # As Kubernetes rounds.
            least = math.ceil(pods * int(least[:-1]) / 100)
        if least is None or int(least) >= pods:
            conversion.hand(
                "no node with such a pod could be drained: have more pods, or let one go (maxUnavailable: 1)"
            )
            return None
    return {"enabled": bool(value.get("enabled", False)), **given}


def autoscaling_hpa(conversion: Conversion, _: str, value: Any) -> dict[str, Any]:
    """A HorizontalPodAutoscaler that goes by CPU."""
    found = {"enabled": bool(value.get("enabled", False))}
    if "minReplicaCount" in value or found["enabled"]:
        found["minReplicas"] = max(1, int(value.get("minReplicaCount") or 1))
    if "maxReplicaCount" in value or found["enabled"]:
        found["maxReplicas"] = max(int(value.get("maxReplicaCount", 5)), found.get("minReplicas", 1))
    target = _cpu(value.get("metrics"))
    if target is None:
        conversion.hand("this chart scales by CPU alone: set targetCPU, or make a HorizontalPodAutoscaler of your own")
    elif found["enabled"] or "metrics" in value:
        found["targetCPU"] = target
    if "behavior" in value:
        conversion.hand("behavior cannot be set: make a HorizontalPodAutoscaler of your own where you need it")
    return found


def _cpu(metrics: Any) -> int | None:
    if metrics is None:
        return 80
    match metrics:
        case [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": int(percent)}},
            }
        ]:
            return percent
    return None


def autoscaling_keda(conversion: Conversion, _: str, value: Any) -> dict[str, Any]:
    """KEDA, which here goes by the broker's list."""
    found: dict[str, Any] = {"enabled": bool(value.get("enabled", False))}
    for ours, theirs, default in (
        ("minReplicas", "minReplicaCount", 0),
        ("maxReplicas", "maxReplicaCount", 10),
        ("pollingInterval", "pollingInterval", 5),
        ("cooldownPeriod", "cooldownPeriod", 30),
    ):
        if theirs in value or found["enabled"]:
            found[ours] = int(value.get(theirs) if value.get(theirs) is not None else default)
    if found["enabled"]:
        conversion.hand(
            "it goes by the tasks that wait in the broker, not by a query of the database: the broker's Secret needs "
            "the keys `address` (host:port) and `password` too"
        )
    return found


def safe_to_evict(conversion: Conversion, component: str, path: str, value: Any) -> None:
    """The annotation of the cluster's autoscaler."""
    where = targets(conversion, component, "podAnnotations")
    for one in where:
        annotations = conversion.get(f"{one}.podAnnotations") or {}
        conversion.put(f"{one}.podAnnotations", {_SAFE_TO_EVICT: str(bool(value)).lower(), **annotations})
    conversion.say(path, Kind.FORM, [f"{one}.podAnnotations" for one in where], f"the annotation {_SAFE_TO_EVICT}")


def for_every(name: str, change: Any = None) -> Any:
    """A form that puts a value for all pods into each component that has none of its own."""

    def form(conversion: Conversion, _: str, path: str, value: Any) -> None:
        value = change(conversion, path, value) if change else value
        where = _without(conversion, [f"{one}.{name}" for one in conversion.components() if name in FIELDS[one]])
        if not where:
            conversion.say(path, Kind.GONE, (), "each component has its own")
        elif value and conversion.put_all(where, value, weak=True):
            conversion.say(path, Kind.CARRIED, where)

    return form


def service(conversion: Conversion, component: str, path: str, value: Mapping[str, Any]) -> None:
    """The api-server's Service."""
    weak, where = component == "webserver", []
    for key in ("type", "annotations"):
        if key in value and conversion.put(f"apiServer.service.{key}", value[key], weak=weak):
            where.append(f"apiServer.service.{key}")
    ports = [str(one.get("port", "")) for one in value.get("ports") or []]
    if len(ports) == 1 and re.fullmatch(r"\d+", ports[0]):
        conversion.put("apiServer.service.port", int(ports[0]), weak=weak)
        where.append("apiServer.service.port")
        if node_port := value["ports"][0].get("nodePort"):
            conversion.put("apiServer.service.nodePort", int(node_port), weak=weak)
            where.append("apiServer.service.nodePort")
    elif ports:
        conversion.hand("the Service has one port, a number: apiServer.service.port")
    for key in ("loadBalancerIP", "loadBalancerSourceRanges"):
        if key in value:
            conversion.hand(f"{key} cannot be set: use the cloud's annotations, or a Service of your own")
    if where:
        note = "Airflow 3 has no webserver: its api-server serves the UI" if weak else ""
        conversion.say(path, Kind.FORM if weak else Kind.CARRIED, where, note)
