"""Airflow's own options: `config`, and variables that set one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from airflow_platform.official_chart.conversion import Conversion, Kind, is_secret

#: Options that follow from other values here, and which.
_DERIVED = {
    "core.executor": "launcher.kind says it",
    "core.dags_folder": "dags says it",
    "core.execution_api_server_url": "it is the api-server's Service",
    "api.port": "it is the container's own; clients use apiServer.service.port",
    "kubernetes_executor.namespace": "worker pods are in the release's namespace",
    "kubernetes_executor.pod_template_file": "workers says it",
    "kubernetes_executor.worker_container_repository": "image says it",
    "kubernetes_executor.worker_container_tag": "image says it",
    "kubernetes_executor.multi_namespace_mode": "tasks.namespaces says it",
    "kubernetes_executor.multi_namespace_mode_namespace_list": "tasks.namespaces says it",
    "scheduler.standalone_dag_processor": "the dag-processor is always a component of its own",
    "celery.sync_parallelism": "a message takes the broker a millisecond: one process sends them",
    "celery.flower_url_prefix": "Flower is no part of this chart",
    "webserver.rbac": "Airflow 3 has no such option",
}

#: Options that a value of ours has.
_VALUES = {
    "api.base_url": "apiServer.baseUrl",
    "webserver.base_url": "apiServer.baseUrl",
    "api.workers": "apiServer.workers",
    "webserver.workers": "apiServer.workers",
    "celery.worker_concurrency": "launcher.slots",
    "secrets.backend": "secretsBackend.class",
    "secrets.backend_kwargs": "secretsBackend.kwargs",
}
_NUMBERS = ("apiServer.workers", "launcher.slots")
_LOGS = ("remote_logging", "remote_base_log_folder", "remote_log_conn_id")

#: Options of Airflow's that hold a secret, though their names do not say so.
_SENSITIVE = {
    "celery.flower_basic_auth", "celery_broker_transport_options.sentinel_kwargs",
    "celery_result_backend_transport_options.sentinel_kwargs", "core.asset_manager_kwargs", "core.sql_alchemy_conn",
    "database.sql_alchemy_engine_args", "logging.remote_task_handler_kwargs", "workers.secrets_backend_kwargs",
}  # fmt: skip
_HARMLESS = {"logging.min_length_masked_secret"}


def option_of(variable: str) -> tuple[str, str]:
    """Section and option that a variable sets; empty texts if it sets none."""
    match = re.fullmatch(r"AIRFLOW__([A-Z0-9_]+?)__([A-Z0-9_]+)", variable)
    return (match[1].lower(), match[2].lower()) if match else ("", "")


def is_own(section: str, option: str) -> bool:
    """Whether the option is one that a value of ours has, or that the chart sets itself."""
    name = f"{section}.{option}"
    return name in _DERIVED or name in _VALUES or (section in ("logging", "core") and option in _LOGS)


def options(conversion: Conversion, _: str, path: str, value: Any) -> None:
    """`config`."""
    for section, given in value.items():
        if not isinstance(given, Mapping):
            conversion.hand("a section of it holds options", f"{path}.{section}")
            continue
        for option, one in given.items():
            put(conversion, f"{path}.{section}.{option}", str(section), str(option), one)


def put(conversion: Conversion, path: str, section: str, option: str, value: Any) -> None:
    """One option; ``path`` is where theirs is."""
    if section == "kubernetes":
        section = "kubernetes_executor"
    if section == "core" and option in _LOGS:
        section = "logging"
    name = f"{section}.{option}".lower()
    if name in _DERIVED:
        conversion.say(path, Kind.GONE, (), _DERIVED[name])
    elif section == "logging" and option in _LOGS:
        conversion.logs[option] = (path, conversion.filled(value))
    elif name == "secrets.backend_kwargs":
        _backend_kwargs(conversion, path, value)
    elif name in _VALUES:
        ours = _VALUES[name]
        if conversion.put(ours, int(value) if ours in _NUMBERS else str(value)):
            conversion.say(path, Kind.FORM, [ours])
    elif value and name not in _HARMLESS and (name in _SENSITIVE or is_secret(option, value)):
        variable = f"AIRFLOW__{section}__{option}".upper()
        secret = conversion.secret("airflow-environment", variable, note=f"option {section}.{option}")
        conversion.put("extraEnv", [{"name": variable, "valueFrom": {"secretKeyRef": secret}}])
    elif conversion.put(f"config.{section}.{option}", value):
        conversion.say(path, Kind.CARRIED, [f"config.{section}.{option}"])


def _backend_kwargs(conversion: Conversion, path: str, value: Any) -> None:
    """Arguments of a secrets backend, JSON: those that hold a secret go to a Secret, all together."""
    try:
        found = json.loads(value or "{}") if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, Mapping) or _holds_secret(found):
        secret = conversion.secret("airflow-secrets-backend", "kwargs", note="option secrets.backend_kwargs")
        conversion.put("secretsBackend.existingSecret", secret["name"])
    elif conversion.put("secretsBackend.kwargs", found):
        conversion.say(path, Kind.FORM, ["secretsBackend.kwargs"])


def _holds_secret(value: Any, name: str = "") -> bool:
    if isinstance(value, Mapping) and any(_holds_secret(one, str(key)) for key, one in value.items()):
        return True
    # `keyfile_dict` is Google's key.
    return bool(value) and (is_secret(name, value) or name.endswith("keyfile_dict"))


def logs(conversion: Conversion) -> None:
    """Remote logging: S3 by `logs.s3`, another store as it is."""
    given, conversion.logs = conversion.logs, {}
    folder = str(given.get("remote_base_log_folder", ("", ""))[1] or "")
    places = [path for path, _ in given.values()]
    if not given:
        return
    if str(given.get("remote_logging", ("", "True"))[1]).lower() != "true" or not folder:
        for path in places:
            conversion.say(path, Kind.GONE, (), "remote logging is off without a folder")
    elif match := re.fullmatch(r"s3://([^/]+)/?(.*?)/?", folder):
        conversion.put("logs.s3.bucket", match[1])
        if match[2]:
            conversion.put("logs.s3.prefix", match[2])
        for path in places:
            conversion.say(path, Kind.FORM, ["logs.s3.bucket", *(["logs.s3.prefix"] if match[2] else [])])
        if connection := given.get("remote_log_conn_id"):
            conversion.hand(
                f"what the connection {connection[1]} has of an address and a region goes to logs.s3.endpoint and "
                "logs.s3.region; its keys to a Secret that logs.s3.existingSecret names. Without one, pods use their "
                "own identity",
                connection[0],
            )
    else:
        for option, (path, value) in given.items():
            conversion.put(f"config.logging.{option}", value)
            conversion.say(path, Kind.CARRIED, [f"config.logging.{option}"])
        conversion.hand(
            f"{folder.partition(':')[0]} is no store that the image has the provider for: add it to the image",
            places[0],
        )
