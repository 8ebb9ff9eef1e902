"""Tasks whose pods run in another cluster than Airflow's: named by a connection, or by a context of its kubeconfig."""

from datetime import UTC, datetime, timedelta

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from kubernetes.client import V1ConfigMapEnvSource, V1EnvFromSource

TASK = {
    "owner": "semantics",
    "namespace": "support",
    # What the platform fills in of a pod, it leaves open for another cluster: that has its own registry and accounts.
    "image": "{{ conn.semantics_second.extra_dejson.task_image }}",
    "image_pull_secrets": "registry",
    "env_from": [V1EnvFromSource(config_map_ref=V1ConfigMapEnvSource(name="semantics-place"))],
    "cmds": ["sh", "-c", "echo runs in $PLACE"],
    "kubernetes_conn_id": "semantics_second",
    "container_resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    "startup_timeout_seconds": 600,
    "execution_timeout": timedelta(minutes=20),
    "retries": 0,
    "pool": "light",
}

with DAG(
    "semantics_clusters",
    default_args=TASK,
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["semantics"],
):
    KubernetesPodOperator(task_id="by_connection")
    KubernetesPodOperator(task_id="by_context", kubernetes_conn_id="semantics_two_contexts", cluster_context="second")
    KubernetesPodOperator(task_id="fails", cmds=["sh", "-c", "echo last words; exit 3"])
    KubernetesPodOperator(task_id="marked", cmds=["sh", "-c", "trap 'exit 143' TERM; echo waits; sleep 600 & wait"])
