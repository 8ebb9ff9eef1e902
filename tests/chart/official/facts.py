"""What two charts that install Airflow can be compared by: facts of their objects, under names that both share.

A fact is a path and a value that is JSON. Components are named as this chart names them; ``launcher`` stands beside the
official chart's Celery worker, ``worker`` beside its template of KubernetesExecutor's pods.
"""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

Facts = dict[str, Any]

#: Theirs to ours.
_THEIRS = {"worker": "launcher", "run-airflow-migrations": "migrations"}
_COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer", "launcher", "migrations")
#: Where each chart keeps configuration, logs and DAGs is its own.
_OWN_VOLUMES = ("config", "logs", "dags", "git-sync-ssh-key")
_OWN_OPTIONS = (
    "core.dags_folder", "kubernetes_executor.worker_container_repository", "kubernetes_executor.worker_container_tag",
)  # fmt: skip


def of(objects: list[dict[str, Any]], *, official: bool) -> Facts:
    """The facts of a release."""
    return dict(sorted(dict(_pairs(objects, official)).items()))


def _pairs(objects: list[dict[str, Any]], official: bool) -> Iterator[tuple[str, Any]]:
    accounts = {one["metadata"]["name"]: one for one in objects if one["kind"] == "ServiceAccount"}
    for one in objects:
        kind, name = one["kind"], _component(one.get("metadata", {}), official)
        if kind in ("Deployment", "StatefulSet", "Job") and name in _COMPONENTS:
            if kind != "Job":
                yield f"{name}/replicas", one["spec"].get("replicas")
                yield f"{name}/strategy", one["spec"].get("strategy")
            yield from _pod(name, one["spec"]["template"], accounts)
        elif kind == "ConfigMap":
            yield from _config(one.get("data") or {}, accounts)
        elif kind == "Ingress":
            yield from _ingress(one)
        elif kind == "Service" and name == "api-server":
            yield "service/type", one["spec"].get("type")
            for key, value in (one["metadata"].get("annotations") or {}).items():
                yield f"service/annotations/{key}", value
            for port in one["spec"]["ports"]:
                yield "service/port", int(port["port"])
        elif kind == "PodDisruptionBudget":
            yield (
                f"{_scaled(one['metadata']['name'])}/disruption",
                {key: value for key, value in one["spec"].items() if key in ("minAvailable", "maxUnavailable")},
            )
        elif kind == "HorizontalPodAutoscaler":
            name = _scaled(one["spec"]["scaleTargetRef"]["name"])
            for key in ("minReplicas", "maxReplicas"):
                yield f"{name}/hpa/{key}", one["spec"].get(key)
            for metric in one["spec"]["metrics"]:
                found = metric.get("resource") or metric.get("containerResource")
                yield f"{name}/hpa/{found['name']}", found["target"]
        elif kind == "ScaledObject":
            name = _scaled(one["spec"]["scaleTargetRef"]["name"])
            for key in ("minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod"):
                yield f"{name}/keda/{key}", one["spec"].get(key)


def _component(metadata: dict[str, Any], official: bool) -> str:
    name = (metadata.get("labels") or {}).get("component" if official else "app.kubernetes.io/component", "")
    return _THEIRS.get(name, name) if official else name


def _scaled(name: str) -> str:
    # <release>-<component>[-pdb]
    name = name.removeprefix("airflow-").removesuffix("-pdb")
    return _THEIRS.get(name, name)


def _pod(name: str, pod: dict[str, Any], accounts: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    metadata, spec = pod.get("metadata") or {}, pod["spec"]
    for part in ("labels", "annotations"):
        for key, value in (metadata.get(part) or {}).items():
            if not key.startswith("checksum/"):
                yield f"{name}/{part}/{key}", value
    for part in (
        "nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName",
        "terminationGracePeriodSeconds",
    ):  # fmt: skip
        yield f"{name}/{part}", spec.get(part) or None
    yield "release/imagePullSecrets", spec.get("imagePullSecrets") or None
    account = accounts.get(spec.get("serviceAccountName") or "", {})
    for key, value in (account.get("metadata", {}).get("annotations") or {}).items():
        yield f"{name}/serviceAccount/{key}", value
    main, *others = _airflow_first(spec["containers"])
    yield f"{name}/resources", _quantities(main.get("resources"))
    for one in main.get("env") or []:
        yield from _variable(name, one)
    for mount in main.get("volumeMounts") or []:
        if mount["name"] in _OWN_VOLUMES:
            continue
        yield f"{name}/mounts/{mount['name']}", {key: value for key, value in mount.items() if value is not False}
    for volume in spec.get("volumes") or []:
        if volume["name"] in _OWN_VOLUMES and "persistentVolumeClaim" not in volume:
            continue
        yield f"{name}/volumes/{volume['name']}", volume
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        for key, value in (main.get(probe) or {}).items():
            if key.endswith("Seconds") or key.endswith("Threshold"):
                yield f"{name}/{probe}/{key}", value
    for part, given in (("containers", others), ("initContainers", spec.get("initContainers") or [])):
        for one in given:
            if one["name"] in ("git-sync", "git-sync-init", "git-sync-once"):
                yield from _git_sync(one, main)
            elif not re.search("wait-for|log-groomer|generate-secrets", one["name"]):
                yield f"{name}/{part}/{one['name']}", one


def _airflow_first(containers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = (*_COMPONENTS, "worker", "base", "run-airflow-migrations")
    return sorted(containers, key=lambda one: one["name"] not in names)


def _variable(name: str, one: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    secrets = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "database",
        "AIRFLOW__CORE__FERNET_KEY": "fernetKey",
        "AIRFLOW__API__SECRET_KEY": "apiSecretKey",
        "AIRFLOW__API_AUTH__JWT_SECRET": "jwtSecret",
        "AIRFLOW__CELERY__BROKER_URL": "broker",
    }
    if one["name"] in secrets:
        yield f"secrets/{secrets[one['name']]}", one["valueFrom"]["secretKeyRef"]
    elif one["name"] in ("AIRFLOW_CONN_AIRFLOW_DB", "AIRFLOW_CONN_AWS_LOGS"):
        # Theirs gives the metadata database to every task; ours is how logs.s3 reaches the bucket.
        return
    else:
        yield f"{name}/env/{one['name']}", one["valueFrom"] if "valueFrom" in one else str(one.get("value", ""))


def _quantities(resources: Any) -> Any:
    given = {part: amounts for part, amounts in (resources or {}).items() if amounts}
    return json.loads(json.dumps(given), parse_int=str)


def _git_sync(container: dict[str, Any], main: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    given = {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}
    for name in ("repo", "period", "depth", "max_failures"):
        yield f"git-sync/{name}", given.get(f"GITSYNC_{name.upper()}")
    # As git-sync 4 reads them: the branch of version 3 first, which the official chart always sets.
    revision, branch = given.get("GIT_SYNC_REV", ""), given.get("GIT_SYNC_BRANCH")
    old = (branch or revision) if revision in ("", "HEAD") else revision
    yield "git-sync/ref", old or given.get("GITSYNC_REF")
    yield "git-sync/ssh", bool(given.get("GITSYNC_SSH_KEY_FILE"))
    yield "git-sync/known hosts", given.get("GITSYNC_SSH_KNOWN_HOSTS")
    if user := given.get("GITSYNC_USERNAME"):
        yield "git-sync/user", user["secretKeyRef"]
    yield "git-sync/resources", _quantities(container.get("resources"))
    yield "git-sync/image", container["image"]


def _config(data: dict[str, str], accounts: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if text := data.get("airflow.cfg"):
        parser = configparser.RawConfigParser(strict=False)
        parser.read_string(text)
        for section in parser.sections():
            for option, value in parser.items(section):
                if f"{section}.{option}" not in _OWN_OPTIONS:
                    yield f"config/{section}.{option}", _option(value.replace("%%", "%"))
        folder = parser.get("core", "dags_folder", fallback="")
        yield "dags/folder", re.sub(r"^(/opt/airflow/dags/repo|/git/current|/opt/airflow/dags)/?", "", folder)
    for name in ("pod_template_file.yaml", "worker-pod.yaml"):
        if text := data.get(name):
            yield from _pod("worker", yaml.safe_load(text), accounts)


def _option(value: str) -> Any:
    try:
        return json.loads(value) if value.startswith(("[", "{")) else value.replace("true", "True")
    except json.JSONDecodeError:
        return value


def _ingress(one: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "ingress/class", one["spec"].get("ingressClassName")
    for key, value in (one["metadata"].get("annotations") or {}).items():
        yield f"ingress/annotations/{key}", value
    for rule in one["spec"].get("rules") or []:
        yield f"ingress/hosts/{rule['host']}", [path["path"] for path in rule["http"]["paths"]]
    for tls in one["spec"].get("tls") or []:
        for host in tls["hosts"]:
            yield f"ingress/tls/{host}", tls.get("secretName")
