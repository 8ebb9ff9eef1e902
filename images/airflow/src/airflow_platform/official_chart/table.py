"""What becomes of each value of the official chart: one row a value, or a part with all that is in it.

``<component>`` stands for any of `components.COMPONENTS`. Rows are done in this order: what is special comes first.
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


def _gone(note: str, *names: str) -> list[Row]:
    return [Row(name, "", note, gone(note)) for name in names]


def _hand(note: str, *names: str) -> list[Row]:
    return [Row(name, "", f"by hand: {note}", hand(note)) for name in names]


def _part(note: str, *names: str) -> list[Row]:
    return [Row(name, "", f"by hand, where it is on: {note}", part(note)) for name in names]


def _same(official: str, ours: str, change: Any = None) -> Row:
    return Row(official, ours, "", same(ours, change))


def _field(official: str, ours: str, change: Any = None, note: str = "") -> Row:
    return Row(f"<component>.{official}", f"<component>.{ours}", note, field(ours, change))


_RESTRICTED = 'pods and containers keep to Pod Security "restricted", with a read-only root file system'
_NAMES = "names begin with fullnameOverride, or the release's name"
_IMAGE = "by hand: it has to be this project's image, or built FROM it (`--image`)"
_HOOKS = "the api-server waits before it ends (apiServer.preStopSleepSeconds); others need none"
_SCHEDULER = "pods go by the cluster's default scheduler"
_WEBSERVER_CONFIG = "make a ConfigMap of it, and mount it by apiServer.extraVolumes at /opt/airflow/webserver_config.py"
_ACCOUNTS = "each component has a ServiceAccount of its own, and a token only where it needs one"
_TRIGGERER = "a triggerer holds a thousand tasks: set triggerer.replicas"
_COLLECTOR = "send to a collector of yours: config.metrics.otel_on, config.traces.otel_on"
_QUEUES = "make an item of workers.sets for each queue of tasks that are no pods; those of pods go by nodePools"
_NETWORK = "see networkPolicies.clients, .egress and .extra: policies are made by default"
_NO_SECRET = "the chart makes no such Secret"
_VOLUME = "no component keeps anything on a volume; logs are in S3"
_KERBEROS = "Kerberos is no part of the chart"
_MAKE = "by hand: make the Secret"
_OWN = "of each that has none of its own"
_BROKER = "launcher.celery.broker"
_SECRET_IN_IT = "a secret in it becomes a Secret, by hand"

ROWS = (
    # The release.
    _same("fullnameOverride", "fullnameOverride"),
    *_gone(_NAMES, "nameOverride", "useStandardNaming"),
    Row(
        "executor", "launcher.kind",
        "`celery` for Celery's executors, `local` for others; every task that is no pod has a worker pod",
        release.executor,
    ),
    Row("airflowVersion", "", "2.x: by hand, upgrade to Airflow 3 first", release.image),
    *(
        Row(name, "image", _IMAGE, release.image)
        for name in (
            "defaultAirflowRepository", "defaultAirflowTag", "defaultAirflowDigest", "images.airflow.repository",
            "images.airflow.tag", "images.airflow.digest", "images.pod_template.repository", "images.pod_template.tag",
        )
    ),
    Row("images.airflow.pullPolicy", "image.pullPolicy", "", release.pull_policy),
    Row("images.pod_template.pullPolicy", "image.pullPolicy", "", release.pull_policy),
    *_gone("the migrations Job runs the one image", "images.useDefaultImageForMigration"),
    _same("images.migrationsWaitTimeout", "migrations.waitTimeout"),
    Row("images.gitSync", "dags.gitSync.image", "of git-sync 4; 3 has other variables", release.git_sync_image),
    *_gone("the chart has none", "images.flower", "images.redis", "images.otelCollector"),
    *_hand("metrics.exporter.image, where metrics are on", "images.statsd"),
    *_hand("pgbouncer.image, where it is on", "images.pgbouncer"),
    *_hand("pgbouncer.exporter.image, where it is on", "images.pgbouncerExporter"),
    Row("imagePullSecrets", "imagePullSecrets", "", release.pull_secrets),
    Row("registry.secretName", "imagePullSecrets", "", release.pull_secrets),
    Row("registry.connection", "imagePullSecrets", "by hand: make the pull secret", release.registry),
    *_gone("the image's user is 50000, its group 0", "uid", "gid"),
    *_gone(_RESTRICTED, "securityContext", "securityContexts"),
    *_gone("the image's is /opt/airflow", "airflowHome"),
    *_gone("Kubernetes' own, 10", "revisionHistoryLimit"),
    *_gone("always off", "enableServiceLinks"),
    *_gone(_HOOKS, "containerLifecycleHooks"),
    *_hand(_SCHEDULER, "schedulerName"),
    *_gone("ConfigMaps have none", "airflowConfigAnnotations"),
    *_hand("KubernetesJobOperator needs rights that the chart does not give: add a Role", "allowJobLaunching"),
    *_gone("it is what the chart is for", "allowPodLaunching"),
    *_hand("the chart makes its Roles; whoever installs it has to be allowed to", "rbac.create"),
    *_hand("bind the SCC to the ServiceAccounts: oc adm policy add-scc-to-user", "rbac.createSCCRoleBinding"),
    *_hand("name the namespaces: tasks.namespaces. Rights are made in those alone", "multiNamespaceMode"),
    Row(
        "networkPolicies", "networkPolicies.enabled", "on by default here, of egress too: by hand, where they were off",
        release.network,
    ),
    *_hand("make PriorityClasses of your own; nodePools has its own for tasks", "priorityClasses"),
    *_hand("nodePools[].quota is one of the pods of tasks; others make yourself", "quotas"),
    *_hand("make a LimitRange of your own; nodePools[].resources says what a task gets", "limits"),
    *_hand("put airflow_local_settings.py into the image, on PYTHONPATH", "airflowLocalSettings"),
    *_hand("workers has what pods of workers may differ in; the template is the chart's own", "podTemplate"),
    # Secrets.
    Row(
        "data.metadataSecretName", "database.existingSecret",
        "its key is `connection`. A URL with `?sslmode=…` is refused: set database.sslMode instead",
        secret_name(
            "database", "connection", "a URL with ?sslmode=… is refused: take that out, and set database.sslMode"
        ),
    ),
    Row(
        "data.metadataConnection", "database.existingSecret",
        "by hand: make the Secret. `sslmode` becomes database.sslMode, another port one of networkPolicies.egress",
        release.database,
    ),
    Row(
        "data.brokerUrlSecretName", f"{_BROKER}.existingSecret", "its key is `connection`",
        secret_name(_BROKER, "connection"),
    ),
    Row(
        "data.brokerUrl", f"{_BROKER}.existingSecret", _MAKE,
        secret_text(_BROKER, "airflow-broker", "url", "redis://:<password>@<host>:6379/0"),
    ),
    *_gone(
        "results of Celery's tasks go to the broker", "data.resultBackendSecretName", "data.resultBackendConnection",
        "data.resultBackendConnectionSecretAnnotations",
    ),
    Row("fernetKeySecretName", "fernetKey.existingSecret", "", secret_name("fernetKey", "fernet-key")),
    Row("fernetKey", "fernetKey.existingSecret", _MAKE, secret_text("fernetKey", "airflow-keys", "fernet-key")),
    Row("apiSecretKeySecretName", "apiSecretKey.existingSecret", "", secret_name("apiSecretKey", "api-secret-key")),
    Row(
        "webserverSecretKeySecretName", "apiSecretKey.existingSecret", "where apiSecretKeySecretName is not set",
        secret_name("apiSecretKey", "webserver-secret-key"),
    ),
    *(
        Row(name, "apiSecretKey.existingSecret", _MAKE, secret_text("apiSecretKey", "airflow-keys", "api-secret-key"))
        for name in ("apiSecretKey", "webserverSecretKey")
    ),
    Row("jwtSecretName", "jwtSecret.existingSecret", "", secret_name("jwtSecret", "jwt-secret")),
    Row("jwtSecret", "jwtSecret.existingSecret", _MAKE, secret_text("jwtSecret", "airflow-keys", "jwt-secret")),
    *_gone(
        _NO_SECRET, "data.brokerUrlSecretAnnotations", "fernetKeySecretAnnotations", "apiSecretAnnotations",
        "jwtSecretAnnotations", "webserverSecretAnnotations",
    ),
    *_hand("the chart sets these variables from Secrets; yours by extraEnv win", "enableBuiltInSecretEnvVars"),
    # The first user.
    Row("createUserJob.enabled", "admin.enabled", "", release.admin_off),
    Row("createUserJob.defaultUser", "admin", "by hand: make the Secret with the password", release.admin),
    Row("webserver.defaultUser", "admin", "by hand: make the Secret with the password", release.admin),
    *_gone("the migrations Job makes the user: migrations", "createUserJob"),
    # Components.
    _field("replicas", "replicas"),
    _field(
        "resources", "resources", components.resources,
        "as given: what a file leaves out is not this chart's default. Of Celery's workers: the launcher's, and those "
        "of worker pods by hand",
    ),
    _field("nodeSelector", "nodeSelector"),
    _field("affinity", "affinity"),
    _field("tolerations", "tolerations"),
    _field("topologySpreadConstraints", "topologySpreadConstraints"),
    _field("priorityClassName", "priorityClassName"),
    _field("podAnnotations", "podAnnotations", components.labels),
    Row("migrateDatabaseJob.annotations", "migrations.podAnnotations", "", field("podAnnotations", components.labels)),
    Row(
        "<component>.safeToEvict", "<component>.podAnnotations", "the annotation of the cluster's autoscaler",
        components.safe_to_evict,
    ),
    _field("labels", "podLabels", components.labels),
    _field("env", "extraEnv", components.environment, _SECRET_IN_IT),
    _field(
        "extraContainers", "extraContainers", components.containers,
        "not of worker pods: extraInitContainers with `restartPolicy: Always`",
    ),
    _field("extraInitContainers", "extraInitContainers", components.containers),
    _field("extraVolumes", "extraVolumes", components.volumes),
    _field("extraVolumeMounts", "extraVolumeMounts", components.mounts),
    _field("terminationGracePeriodSeconds", "terminationGracePeriodSeconds", components.grace),
    _field("strategy", "strategy", components.strategy),
    _field("serviceAccount.annotations", "serviceAccount.annotations", components.labels),
    *_gone(_ACCOUNTS, "<component>.serviceAccount"),
    _field(
        "podDisruptionBudget", "podDisruptionBudget", components.disruption,
        "on by default here, where there are two pods",
    ),
    _field("startupProbe", "startupProbe", components.probe, "its timing"),
    _field("livenessProbe", "livenessProbe", components.probe, "its timing"),
    _field("readinessProbe", "readinessProbe", components.probe, "its timing"),
    _field("hpa", "autoscaling.hpa", components.autoscaling_hpa, "by CPU alone"),
    *_part(_TRIGGERER, "triggerer.keda"),
    _field(
        "keda", "autoscaling.keda", components.autoscaling_keda,
        "by the tasks that wait in the broker; its Secret needs `address` and `password`",
    ),
    Row("apiServer.service", "apiServer.service", "type, annotations, one port", components.service),
    Row("webserver.service", "apiServer.service", "where apiServer.service says nothing", components.service),
    *_hand(_QUEUES, "workers.celery.sets", "workers.celery.queue", "workers.celery.enableDefault"),
    *_gone("always on", "<component>.enabled"),
    *_gone("the chart's own", "<component>.command", "<component>.args"),
    *_gone("Kubernetes' own, 10", "<component>.revisionHistoryLimit"),
    *_gone("those of pods are podAnnotations", "<component>.annotations"),
    *_gone(
        "all components are Deployments: strategy", "<component>.updateStrategy", "<component>.podManagementPolicy",
    ),
    *_gone(_RESTRICTED, "<component>.securityContext", "<component>.securityContexts"),
    *_gone(_HOOKS, "<component>.containerLifecycleHooks"),
    *_gone(_VOLUME, "<component>.persistence", "<component>.volumeClaimTemplates", "<component>.logGroomerSidecar"),
    *_gone("every pod waits: migrations.waitTimeout", "<component>.waitForMigrations"),
    *_gone("nothing else listens", "<component>.extraPorts"),
    *_hand(_NETWORK, "<component>.networkPolicy", "<component>.extraNetworkPolicies"),
    *_gone("ConfigMaps have none", "<component>.configMapAnnotations"),
    *_gone(
        "logs come from S3, and from triggerer and launcher while a task runs", "<component>.allowPodLogReading",
    ),
    *_hand(_SCHEDULER, "<component>.schedulerName"),
    *_hand("pods have none: a RuntimeClass is the nodes' to default", "<component>.runtimeClassName"),
    *_gone(_KERBEROS, "<component>.kerberosSidecar", "<component>.kerberosInitContainer"),
    *_gone("the Job has none", "<component>.jobAnnotations"),
    *_gone("migrations.backoffLimit says how often the Job is tried again", "<component>.restartPolicy"),
    *_gone(
        "no object is a hook: helm --wait, Argo CD and Flux need nothing special", "<component>.useHelmHooks",
    ),
    *_gone("extraEnv is in every container", "<component>.applyCustomEnv"),
    *_hand("pods have none: let DNS know the name", "<component>.hostAliases"),
    _same("migrateDatabaseJob.ttlSecondsAfterFinished", "migrations.ttlSecondsAfterFinished"),
    *(
        Row(name, "apiServer.extraVolumes", "mounted as webserver_config.py", release.webserver_config)
        for name in ("apiServer.apiServerConfigConfigMapName", "webserver.webserverConfigConfigMapName")
    ),
    *_hand(_WEBSERVER_CONFIG, "apiServer.apiServerConfig", "webserver.webserverConfig"),
    Row("dagProcessor.dagBundleConfigList", "config.dag_processor.dag_bundle_config_list", "", release.bundles),
    # For all pods.
    *(
        Row(name, f"<component>.{name}", _OWN, for_every(name))
        for name in ("nodeSelector", "affinity", "tolerations", "topologySpreadConstraints")
    ),
    Row("volumes", "<component>.extraVolumes", "of each", for_every("extraVolumes", components.volumes)),
    Row("volumeMounts", "<component>.extraVolumeMounts", "of each", for_every("extraVolumeMounts", components.mounts)),
    _same("labels", "podLabels", components.labels),
    _same("airflowPodAnnotations", "podAnnotations", components.labels),
    # Airflow's configuration and environment.
    Row(
        "config", "config",
        "what another value says is left out; S3 becomes logs.s3, a secrets backend secretsBackend; secrets become "
        "Secrets, by hand",
        configuration.options,
    ),
    Row("env", "extraEnv", _SECRET_IN_IT, environment.variables),
    Row("secret", "extraEnv", "", environment.from_secrets),
    Row(
        "extraEnv", "extraEnv", "templates of helm's, but the release's name and namespace, by hand",
        environment.variables,
    ),
    Row("extraEnvFrom", "extraEnv", "by hand: variables go by name", environment.env_from),
    Row("extraSecrets", "", "by hand: make the Secrets", environment.objects("Secret", "secret generic")),
    Row("extraConfigMaps", "", "by hand: make the ConfigMaps", environment.objects("ConfigMap", "configmap")),
    # The way in.
    Row("ingress.apiServer", "apiServer.ingress", "and apiServer.baseUrl, from its first host", release.ingress),
    Row("ingress.web", "apiServer.ingress", "where ingress.apiServer is off", release.ingress),
    *_gone("apiServer.ingress.enabled says it", "ingress.enabled"),
    *_gone("the chart has none", "ingress.flower", "ingress.statsd", "ingress.pgbouncer"),
    Row(
        "ports.apiServer", "apiServer.service.port", "",
        another("apiServer.service.port", "clients use it; in the pod it is 8080"),
    ),
    *_gone("the api-server's is apiServer.service.port", "ports.airflowUI"),
    *_gone("the chart's own", "ports"),
    # DAGs and logs.
    Row(
        "dags.gitSync", "dags.gitSync", "`branch` and `rev` become `ref`; known hosts are a key of the Secret",
        release.git_sync,
    ),
    Row(
        "dags.persistence", "<component>.extraVolumes", "mounted at /opt/airflow/dags; not needed with git-sync",
        release.dags_volume,
    ),
    *_gone("the chart's own", "dags.mountPath", "logs.emptyDirConfig"),
    *_part("logs are kept in S3 alone: logs.s3", "logs.persistence"),
    # Parts that this chart has not.
    *_part("run Flower yourself; airflow-platform why and the UI say why a task waits", "flower"),
    *_gone("set metrics.enabled for an exporter, whose names of metrics are others", "statsd"),
    *_hand(_COLLECTOR, "otelCollector"),
    *_part("set pgbouncer.enabled, with sizes for this chart: docs/database.md", "pgbouncer"),
    *_gone("the chart brings no broker", "redis"),
    *_gone("the chart brings no database", "postgresql"),
    *_part("logs are kept in S3: logs.s3", "elasticsearch", "opensearch"),
    *_gone("the executor deletes pods of workers, the triggerer those of tasks", "cleanup"),
    *_part("set housekeeping.database, which does the same", "databaseCleanup"),
    *_part("put a sidecar with its ticket into extraContainers", "kerberos"),
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
    for row in ROWS:
        for path, component in expanded(row):
            found.setdefault(tuple(path.split(".")), (len(found), component, row))
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
