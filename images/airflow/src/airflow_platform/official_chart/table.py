"""What becomes of each value of the official chart: one row a value, or a part with all that is in it.

``<component>`` stands for any of `components.COMPONENTS`. Rows are done in this order, so what is more special comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from airflow_platform.official_chart import components, configuration, environment, release
from airflow_platform.official_chart.components import COMPONENTS, field, for_every
from airflow_platform.official_chart.conversion import Conversion
from airflow_platform.official_chart.defaults import Path
from airflow_platform.official_chart.release import another, gone, hand, part, same, secret_name, secret_text

#: Does one value: the conversion, the component that stands for ``<component>``, the path, the value.
Form = Callable[[Conversion, str, str, Any], None]


@dataclass(frozen=True)
class Row:
    """A value of theirs; where it goes, and how, for the page of the documentation; and what does it."""

    official: str
    ours: str
    note: str
    form: Form


def _gone(official: str, note: str) -> Row:
    return Row(official, "", note, gone(note))


def _hand(official: str, note: str) -> Row:
    return Row(official, "", f"by hand: {note}", hand(note))


def _part(official: str, note: str) -> Row:
    return Row(official, "", f"by hand, where it is on: {note}", part(note))


def _same(official: str, ours: str, change: Any = None) -> Row:
    return Row(official, ours, "", same(ours, change))


def _field(official: str, ours: str, change: Any = None, note: str = "") -> Row:
    return Row(f"<component>.{official}", f"<component>.{ours}", note, field(ours, change))


_URL = "postgresql://<user>:<password>@<host>:5432/<name>"
_POOLS = "make a node pool of nodePools for the tasks of each, by pool; a queue is Celery's"

ROWS = (
    # The release.
    Row("fullnameOverride", "fullnameOverride", "", same("fullnameOverride")),
    _gone("nameOverride", "names begin with fullnameOverride, or the release's name"),
    _gone("useStandardNaming", "names begin with fullnameOverride, or the release's name"),
    Row("executor", "launcher.kind", "`celery` for Celery's executors, `local` for others; Python tasks have a worker pod each", release.executor),
    Row("airflowVersion", "", "2.x: by hand, upgrade to Airflow 3 first", release.image),
    *(
        Row(name, "image", "by hand: it has to be this project's image, or built FROM it (`--image`)", release.image)
        for name in (
            "defaultAirflowRepository", "defaultAirflowTag", "defaultAirflowDigest",
            "images.airflow.repository", "images.airflow.tag", "images.airflow.digest",
            "images.pod_template.repository", "images.pod_template.tag",
        )
    ),
    Row("images.airflow.pullPolicy", "image.pullPolicy", "", release.pull_policy),
    Row("images.pod_template.pullPolicy", "image.pullPolicy", "", release.pull_policy),
    _gone("images.useDefaultImageForMigration", "the migrations Job runs the one image"),
    Row("images.migrationsWaitTimeout", "migrations.waitTimeout", "", same("migrations.waitTimeout")),
    Row("images.gitSync", "dags.gitSync.image", "of git-sync 4; 3 has other variables", release.git_sync_image),
    *(_gone(f"images.{name}", "the chart has none") for name in ("flower", "statsd", "redis", "pgbouncer", "pgbouncerExporter", "otelCollector")),
    Row("imagePullSecrets", "imagePullSecrets", "", release.pull_secrets),
    Row("registry.secretName", "imagePullSecrets", "", release.pull_secrets),
    Row("registry.connection", "imagePullSecrets", "by hand: make the pull secret", release.registry),
    _gone("uid", "the image's user is 50000"),
    _gone("gid", "the image's group is 0"),
    _gone("securityContext", 'pods and containers keep to Pod Security "restricted", with a read-only root file system'),
    _gone("securityContexts", 'pods and containers keep to Pod Security "restricted", with a read-only root file system'),
    _gone("airflowHome", "the image's is /opt/airflow"),
    _gone("revisionHistoryLimit", "Kubernetes' own, 10"),
    _gone("enableServiceLinks", "always off"),
    _gone("containerLifecycleHooks", "the api-server waits before it ends (apiServer.preStopSleepSeconds); others need none"),
    _hand("schedulerName", "pods go by the cluster's default scheduler"),
    _gone("airflowConfigAnnotations", "ConfigMaps have none"),
    _gone("allowJobLaunching", "KubernetesJobOperator has no rights by this chart: add a Role of your own"),
    _gone("allowPodLaunching", "it is what the chart is for"),
    _hand("rbac.create", "the chart makes its Roles; whoever installs it has to be allowed to"),
    _hand("rbac.createSCCRoleBinding", "bind the SCC to the ServiceAccounts: oc adm policy add-scc-to-user"),
    _hand("multiNamespaceMode", "name the namespaces: tasks.namespaces. Rights are made in those alone"),
    _part("networkPolicies", "write NetworkPolicies of your own"),
    _hand("priorityClasses", "make PriorityClasses of your own; nodePools has its own for tasks"),
    _hand("quotas", "nodePools[].quota is one of the pods of tasks; others make yourself"),
    _hand("limits", "make a LimitRange of your own; nodePools[].resources says what a task gets"),
    _hand("airflowLocalSettings", "put airflow_local_settings.py into the image, below /opt/python or on PYTHONPATH"),
    _hand("podTemplate", "workers has what pods of workers may differ in; the template is the chart's own"),
    # Secrets.
    Row("data.metadataSecretName", "database.existingSecret", "its key is `connection`; without `?sslmode=…` in the URL: set PGSSLMODE by extraEnv", secret_name("database", "connection")),
    Row("data.metadataConnection", "database.existingSecret", "by hand: make the Secret. `sslmode` becomes PGSSLMODE in extraEnv", release.database),
    Row("data.brokerUrlSecretName", "launcher.celery.broker.existingSecret", "its key is `connection`", secret_name("launcher.celery.broker", "connection")),
    Row("data.brokerUrl", "launcher.celery.broker.existingSecret", "by hand: make the Secret", secret_text("launcher.celery.broker", "airflow-broker", "url", "redis://:<password>@<host>:6379/0")),
    *(
        _gone(f"data.{name}", "results of Celery's tasks go to the broker")
        for name in ("resultBackendSecretName", "resultBackendConnection", "resultBackendConnectionSecretAnnotations")
    ),
    _gone("data.brokerUrlSecretAnnotations", "the chart makes no such Secret"),
    Row("fernetKeySecretName", "fernetKey.existingSecret", "", secret_name("fernetKey", "fernet-key")),
    Row("fernetKey", "fernetKey.existingSecret", "by hand: make the Secret", secret_text("fernetKey", "airflow-keys", "fernet-key")),
    Row("apiSecretKeySecretName", "apiSecretKey.existingSecret", "", secret_name("apiSecretKey", "api-secret-key")),
    Row("webserverSecretKeySecretName", "apiSecretKey.existingSecret", "where apiSecretKeySecretName is not set", secret_name("apiSecretKey", "webserver-secret-key")),
    Row("apiSecretKey", "apiSecretKey.existingSecret", "by hand: make the Secret", secret_text("apiSecretKey", "airflow-keys", "api-secret-key")),
    Row("webserverSecretKey", "apiSecretKey.existingSecret", "by hand: make the Secret", secret_text("apiSecretKey", "airflow-keys", "api-secret-key")),
    Row("jwtSecretName", "jwtSecret.existingSecret", "", secret_name("jwtSecret", "jwt-secret")),
    Row("jwtSecret", "jwtSecret.existingSecret", "by hand: make the Secret", secret_text("jwtSecret", "airflow-keys", "jwt-secret")),
    *(
        _gone(name, "the chart makes no such Secret")
        for name in ("fernetKeySecretAnnotations", "apiSecretAnnotations", "jwtSecretAnnotations", "webserverSecretAnnotations")
    ),
    _hand("enableBuiltInSecretEnvVars", "the chart sets these variables from Secrets; give yours by extraEnv, which wins"),
    # The first user.
    Row("createUserJob.enabled", "admin.enabled", "", release.admin_off),
    Row("createUserJob.defaultUser", "admin", "by hand: make the Secret with the password", release.admin),
    Row("webserver.defaultUser", "admin", "as createUserJob.defaultUser", release.admin),
    _gone("createUserJob", "the migrations Job makes the user: migrations"),
    # Components.
    _field("replicas", "replicas"),
    _field("resources", "resources", components.resources, "as given: what a file leaves out is not this chart's default. Of Celery's workers: the launcher's"),
    _field("nodeSelector", "nodeSelector"),
    _field("affinity", "affinity"),
    _field("tolerations", "tolerations"),
    _field("topologySpreadConstraints", "topologySpreadConstraints"),
    _field("priorityClassName", "priorityClassName"),
    _field("podAnnotations", "podAnnotations", components.labels),
    Row("migrateDatabaseJob.annotations", "migrations.podAnnotations", "", field("podAnnotations", components.labels)),
    Row("<component>.safeToEvict", "<component>.podAnnotations", "the annotation of the cluster's autoscaler", components.safe_to_evict),
    _field("labels", "podLabels", components.labels),
    _field("env", "extraEnv", components.environment, "a secret in it becomes a Secret, by hand"),
    _field("extraContainers", "extraContainers", components.containers, "not of workers: extraInitContainers with `restartPolicy: Always`"),
    _field("extraInitContainers", "extraInitContainers", components.containers),
    _field("extraVolumes", "extraVolumes", components.volumes),
    _field("extraVolumeMounts", "extraVolumeMounts", components.mounts),
    _field("terminationGracePeriodSeconds", "terminationGracePeriodSeconds"),
    _field("strategy", "strategy", components.strategy),
    Row("<component>.serviceAccount.annotations", "<component>.serviceAccount.annotations", "", field("serviceAccount.annotations", components.labels)),
    Row("<component>.serviceAccount", "", "each component has a ServiceAccount of its own, and a token only where it needs one", gone("each component has a ServiceAccount of its own, and a token only where it needs one")),
    _field("podDisruptionBudget", "podDisruptionBudget", components.disruption, "on by default here, where there are two pods"),
    _field("startupProbe", "startupProbe", components.probe, "its timing"),
    _field("livenessProbe", "livenessProbe", components.probe, "its timing"),
    _field("readinessProbe", "readinessProbe", components.probe, "its timing"),
    _field("hpa", "autoscaling.hpa", components.autoscaling_hpa, "by CPU alone"),
    Row("triggerer.keda", "", "by hand: a triggerer holds a thousand tasks; set triggerer.replicas", part("a triggerer holds a thousand tasks; set triggerer.replicas")),
    _field("keda", "autoscaling.keda", components.autoscaling_keda, "by the tasks that wait in the broker; its Secret needs `address` and `password`"),
    Row("apiServer.service", "apiServer.service", "type, annotations, one port", components.service),
    Row("webserver.service", "apiServer.service", "where apiServer.service says nothing", components.service),
    *(
        _hand(f"workers.celery.{name}", _POOLS) for name in ("sets", "queue", "enableDefault")
    ),
    *(
        _gone(f"<component>.{name}", note)
        for name, note in (
            ("enabled", "always on"),
            ("command", "the chart's own"),
            ("args", "the chart's own"),
            ("revisionHistoryLimit", "Kubernetes' own, 10"),
            ("annotations", "those of pods are podAnnotations"),
            ("updateStrategy", "all components are Deployments: strategy"),
            ("podManagementPolicy", "all components are Deployments"),
            ("securityContext", 'pods and containers keep to Pod Security "restricted"'),
            ("securityContexts", 'pods and containers keep to Pod Security "restricted"'),
            ("containerLifecycleHooks", "the api-server waits before it ends (apiServer.preStopSleepSeconds); others need none"),
            ("persistence", "no component keeps anything on a volume; logs are in S3"),
            ("volumeClaimTemplates", "no component keeps anything on a volume: extraVolumes"),
            ("logGroomerSidecar", "no logs are kept on disks: they are in S3"),
            ("waitForMigrations", "every pod waits: migrations.waitTimeout"),
            ("extraPorts", "nothing else listens"),
            ("networkPolicy", "there are no NetworkPolicies in the chart"),
            ("extraNetworkPolicies", "there are no NetworkPolicies in the chart"),
            ("configMapAnnotations", "ConfigMaps have none"),
            ("allowPodLogReading", "logs come from S3, and from triggerer and launcher while a task runs"),
            ("schedulerName", "pods go by the cluster's default scheduler"),
            ("runtimeClassName", "pods have none"),
            ("kerberosSidecar", "Kerberos is no part of the chart"),
            ("kerberosInitContainer", "Kerberos is no part of the chart"),
            ("jobAnnotations", "the Job has none"),
            ("restartPolicy", "migrations.backoffLimit says how often the Job is tried again"),
            ("useHelmHooks", "no object is a hook: helm --wait, Argo CD and Flux need nothing special"),
            ("applyCustomEnv", "extraEnv is in every container"),
        )
    ),
    _hand("<component>.hostAliases", "pods have none: let DNS know the name"),
    Row("migrateDatabaseJob.ttlSecondsAfterFinished", "migrations.ttlSecondsAfterFinished", "", same("migrations.ttlSecondsAfterFinished")),
    Row("apiServer.apiServerConfigConfigMapName", "apiServer.extraVolumes", "mounted as webserver_config.py", release.webserver_config),
    Row("webserver.webserverConfigConfigMapName", "apiServer.extraVolumes", "mounted as webserver_config.py", release.webserver_config),
    _hand("apiServer.apiServerConfig", "make a ConfigMap of it, and mount it by apiServer.extraVolumes at /opt/airflow/webserver_config.py"),
    _hand("webserver.webserverConfig", "make a ConfigMap of it, and mount it by apiServer.extraVolumes at /opt/airflow/webserver_config.py"),
    Row("dagProcessor.dagBundleConfigList", "config.dag_processor.dag_bundle_config_list", "", release.bundles),
    # For all pods.
    Row("nodeSelector", "<component>.nodeSelector", "of each that has none of its own", for_every("nodeSelector")),
    Row("affinity", "<component>.affinity", "of each that has none of its own", for_every("affinity")),
    Row("tolerations", "<component>.tolerations", "of each that has none of its own", for_every("tolerations")),
    Row("topologySpreadConstraints", "<component>.topologySpreadConstraints", "of each that has none of its own", for_every("topologySpreadConstraints")),
    Row("volumes", "<component>.extraVolumes", "of each", for_every("extraVolumes", components.volumes)),
    Row("volumeMounts", "<component>.extraVolumeMounts", "of each", for_every("extraVolumeMounts", components.mounts)),
    _same("labels", "podLabels", components.labels),
    _same("airflowPodAnnotations", "podAnnotations", components.labels),
    # Airflow's configuration and environment: variables win over options, so they come last.
    Row("config", "config", "what another value says is left out; S3 becomes logs.s3; secrets become Secrets, by hand", configuration.options),
    Row("env", "extraEnv", "a secret in it becomes a Secret, by hand", environment.variables),
    Row("secret", "extraEnv", "", environment.from_secrets),
    Row("extraEnv", "extraEnv", "helm's templates but the release's name and namespace: by hand", environment.variables),
    Row("extraEnvFrom", "extraEnv", "by hand: variables go by name", environment.env_from),
    Row("extraSecrets", "", "by hand: make the Secrets", environment.objects("Secret", "secret generic")),
    Row("extraConfigMaps", "", "by hand: make the ConfigMaps", environment.objects("ConfigMap", "configmap")),
    # The way in.
    Row("ingress.apiServer", "apiServer.ingress", "and apiServer.baseUrl, from its first host", release.ingress),
    Row("ingress.web", "apiServer.ingress", "where ingress.apiServer is off", release.ingress),
    _gone("ingress.enabled", "apiServer.ingress.enabled"),
    *(_gone(f"ingress.{name}", "the chart has none") for name in ("flower", "statsd", "pgbouncer")),
    Row("ports.apiServer", "apiServer.service.port", "", another("apiServer.service.port", "clients use it; in the pod it is 8080")),
    Row("ports.airflowUI", "", "the api-server's is apiServer.service.port", gone("the api-server's is apiServer.service.port")),
    _gone("ports", "the chart's own"),
    # DAGs, logs.
    Row("dags.gitSync", "dags.gitSync", "`branch` and `rev` become `ref`; known hosts are a key of the Secret", release.git_sync),
    Row("dags.persistence", "<component>.extraVolumes", "mounted at /opt/airflow/dags; not needed with git-sync", release.dags_volume),
    _gone("dags.mountPath", "the chart's own"),
    _part("logs.persistence", "logs are kept in S3 alone: logs.s3"),
    _gone("logs.emptyDirConfig", "the chart's own"),
    # Parts that this chart has not.
    _part("flower", "run Flower yourself; airflow-platform why and the UI say why a task waits"),
    _gone("statsd", "no exporter is made: config.metrics sends metrics to one of yours"),
    Row("otelCollector", "", "by hand: send to a collector of yours: config.metrics.otel_on, config.traces.otel_on", hand("send to a collector of yours: config.metrics.otel_on, config.traces.otel_on")),
    _part("pgbouncer", "run PgBouncer before the database, and name it in the database's Secret"),
    _gone("redis", "the chart brings no broker"),
    _gone("postgresql", "the chart brings no database"),
    _part("elasticsearch", "logs are kept in S3: logs.s3"),
    _part("opensearch", "logs are kept in S3: logs.s3"),
    _part("cleanup", "nothing: pods of workers are deleted (config.kubernetes_executor), those of tasks by the triggerer"),
    _part("databaseCleanup", "make a CronJob that runs `airflow db clean`"),
    _part("kerberos", "put a sidecar with its ticket into extraContainers"),
)  # fmt: skip


def expanded(row: Row) -> Iterator[tuple[str, str]]:
    """The paths of a row, each with its component."""
    if "<component>" not in row.official:
        component = next((one for one in COMPONENTS if row.official.startswith(f"{one}.")), "")
        yield row.official, component
        return
    for component in COMPONENTS:
        yield row.official.replace("<component>", component), component


@cache
def by_path() -> dict[Path, tuple[int, str, Row]]:
    """The rows by path: place in the order, component, row. The first of a path holds."""
    found: dict[Path, tuple[int, str, Row]] = {}
    for place, (row, path, component) in enumerate(
        (row, path, component) for row in ROWS for path, component in expanded(row)
    ):
        found.setdefault(tuple(path.split(".")), (place, component, row))
    return found


def page() -> str:
    """The table as Markdown, for docs/from-the-official-chart.md."""
    lines = ["| the official chart's | here | |", "| --- | --- | --- |"]
    merged: dict[tuple[str, str], list[str]] = {}
    for row in ROWS:
        merged.setdefault((row.ours, row.note), []).append(row.official)
    for (ours, note), names in merged.items():
        theirs = ", ".join(f"`{name}`" for name in names)
        lines.append(f"| {theirs} | {f'`{ours}`' if ours else ''} | {note} |")
    return "\n".join(lines) + "\n"
