"""What follows from values that a file leaves out: the official chart's defaults, and what this chart requires."""

from __future__ import annotations

from airflow_platform.official_chart import configuration, release
from airflow_platform.official_chart.conversion import Conversion, Kind


def complete(conversion: Conversion) -> None:
    """Add them, so that the chart renders with what was written."""
    for add in (
        _executor,
        _image,
        _database,
        _broker,
        _fernet,
        _secrets_backend,
        _admin,
        _dags,
        _logs,
        _task_namespaces,
        _network,
        _metrics,
        _mounts,
        _hpa,
    ):
        conversion.row = "defaults"
        add(conversion)


def _executor(conversion: Conversion) -> None:
    if not conversion.get("launcher.kind"):
        release.launches(conversion, "executor (CeleryExecutor by default)")


def _image(conversion: Conversion) -> None:
    if not conversion.image:
        conversion.hand("build this project's image, push it, and name it by --image or `image`", "images.airflow")
        return
    name, _, digest = conversion.image.partition("@")
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, ""
    conversion.put("image.repository", repository)
    if tag:
        conversion.put("image.tag", tag)
    if digest:
        conversion.put("image.digest", digest)


def _database(conversion: Conversion) -> None:
    if not conversion.get("database.existingSecret"):
        conversion.row = "postgresql (on by default)"
        release.database(conversion, "", conversion.row, {})
        conversion.hand("the chart brings no database: use one that is backed up")


def _broker(conversion: Conversion) -> None:
    broker = conversion.get("launcher.celery.broker") or {}
    if conversion.celery and not broker.get("existingSecret"):
        conversion.row = "redis (on by default)"
        found = conversion.secret("airflow-broker", "url", "redis://:<password>@<host>:6379/0")
        conversion.put("launcher.celery.broker.existingSecret", found["name"])
        conversion.hand("the chart brings no broker: use a Redis or Valkey server that evicts nothing")
    if not conversion.celery:
        celery = conversion.ours.get("launcher", {})
        celery.pop("celery", None)


def _fernet(conversion: Conversion) -> None:
    if not conversion.get("fernetKey.existingSecret"):
        conversion.put("fernetKey.existingSecret", f"{conversion.fullname}-fernet-key")
        conversion.say(
            "fernetKeySecretName (none by default)", Kind.FORM, ["fernetKey.existingSecret"],
            "the Secret that the official release made, which its uninstall leaves: the database is encrypted by it",
        )  # fmt: skip


def _secrets_backend(conversion: Conversion) -> None:
    backend = conversion.get("secretsBackend") or {}
    if backend.get("existingSecret"):
        backend.pop("kwargs", None)
    if backend and not backend.get("class"):
        del conversion.ours["secretsBackend"]
        if backend.keys() - {"class"}:
            conversion.hand("its arguments are given, but no class: set secretsBackend", "config.secrets.backend")


def _admin(conversion: Conversion) -> None:
    manager = str(conversion.get("config.core.auth_manager") or "FabAuthManager")
    if not manager.endswith("FabAuthManager"):
        conversion.put("admin.enabled", False)
        conversion.say("createUserJob", Kind.FORM, ["admin.enabled"], "another auth manager than FAB's knows the users")
    elif conversion.get("admin.enabled") is None and not conversion.get("admin.existingSecret"):
        conversion.say(
            "createUserJob (on by default)", Kind.FORM, ["admin"],
            "no admin with the password admin: one is generated, or taken from admin.existingSecret",
        )  # fmt: skip


def _dags(conversion: Conversion) -> None:
    if not conversion.get("dags.gitSync.enabled"):
        conversion.put("dags.gitSync.enabled", False)
        if not (
            conversion.get("config.dag_processor.dag_bundle_config_list") or conversion.given.get("dags.persistence")
        ):
            conversion.hand(
                "DAGs were in the image: copy them to /opt/airflow/dags of the new one, or set dags.gitSync", "dags"
            )


def _logs(conversion: Conversion) -> None:
    configuration.logs(conversion)
    if conversion.get("logs.s3.bucket"):
        if conversion.get("logs.s3.existingSecret"):
            return
        writers = ["triggerer", "apiServer", "workers", "launcher.celery" if conversion.celery else "scheduler"]
        without = [one for one in writers if not conversion.get(f"{one}.serviceAccount.annotations")]
        if without and len(without) < len(writers):
            conversion.hand(
                f"{', '.join(without)}: the ServiceAccount has no identity that may use the logs' bucket: annotate it",
                "logs",
            )
        elif without:
            conversion.hand(
                "give the ServiceAccounts an identity that may use the bucket, or set logs.s3.existingSecret", "logs"
            )
    elif not conversion.get("config.logging.remote_base_log_folder"):
        conversion.hand(
            "logs of tasks are kept in S3 alone, not in a volume: set logs.s3.bucket, else they go with their pods",
            "logs",
        )


def _task_namespaces(conversion: Conversion) -> None:
    names = list(conversion.task_namespaces) or ["airflow-tasks"]
    conversion.put("tasks.namespaces", names)
    if not conversion.task_namespaces:
        conversion.hand(
            "pods of tasks run in other namespaces than the release's: make airflow-tasks, with what tasks need there "
            "(Secrets, ConfigMaps), or name others by --task-namespace",
            "multiNamespaceMode",
        )
        conversion.commands.append("kubectl create namespace airflow-tasks")


def _network(conversion: Conversion) -> None:
    if not conversion.get("networkPolicies.enabled"):
        conversion.hand(
            "they were off, and are on here: name what tasks, workers and components reach in networkPolicies.tasks, "
            ".extra and .egress (docs/security.md), or set networkPolicies.enabled: false",
            "networkPolicies",
        )


def _metrics(conversion: Conversion) -> None:
    if conversion.given.get("statsd.enabled", True) and not conversion.given.get("config.metrics.statsd_host"):
        conversion.say(
            "statsd (on by default)", Kind.GONE, (),
            "metrics are off: set metrics.enabled for an exporter, whose names are others (docs/monitoring.md)",
        )  # fmt: skip


def _mounts(conversion: Conversion) -> None:
    # A mount of a volume that was the official chart's own, and two at one path, would not render.
    for one in conversion.components():
        volumes = {volume["name"] for volume in conversion.get(f"{one}.extraVolumes") or []}
        kept, paths = [], set()
        for mount in conversion.get(f"{one}.extraVolumeMounts") or []:
            path = mount["mountPath"].rstrip("/")
            if mount["name"] not in volumes:
                conversion.hand(
                    f"the volume {mount['name']}, mounted at {path}, is not among the pod's: add it",
                    f"{one}.extraVolumeMounts",
                )
            elif path in paths:
                conversion.hand(f"two volumes are mounted at {path}: the first is kept", f"{one}.extraVolumeMounts")
            else:
                kept.append(mount)
                paths.add(path)
        if conversion.get(f"{one}.extraVolumeMounts") is not None:
            conversion.get(one)["extraVolumeMounts"] = kept


def _hpa(conversion: Conversion) -> None:
    for one in conversion.components():
        requests = (conversion.get(f"{one}.resources") or {}).get("requests", {})
        autoscaling = conversion.get(f"{one}.autoscaling") or {}
        if autoscaling.get("hpa", {}).get("enabled") and "cpu" in requests and requests["cpu"] is None:
            del requests["cpu"]
            conversion.say(
                f"{one}.resources", Kind.FORM, (), "the chart's request of CPU is kept: the autoscaler goes by it"
            )
        if all(autoscaling.get(kind, {}).get("enabled") for kind in ("hpa", "keda")):
            autoscaling["hpa"]["enabled"] = False
            conversion.hand(
                "both HPA and KEDA were on, and would undo each other's work: KEDA is kept", f"{one}.autoscaling"
            )
