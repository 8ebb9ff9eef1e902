"""What the operator takes: a pod with every setting, templates, XComs, callbacks, decorators, the stock way."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.callbacks import KubernetesPodOperatorCallback
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.secret import Secret
from airflow.sdk import DAG, task
from kubernetes.client import models as k8s

HERE = Path(__file__).parent
VERSIONS = yaml.safe_load((HERE.parent / "images.yaml").read_text())
IMAGE = f"ticket-extract:{VERSIONS['ticket-extract']}"
MANUAL = {"schedule": None, "start_date": datetime(2026, 1, 1, tzinfo=UTC), "catchup": False, "tags": ["semantics"]}
SMALL = {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}
TASK = {
    "owner": "semantics",
    "namespace": "support",
    "image": IMAGE,
    "cmds": ["true"],
    "container_resources": SMALL,
    "startup_timeout_seconds": 600,
    "execution_timeout": timedelta(minutes=20),
    "retries": 0,
    "pool": "light",
}

with DAG("semantics_parameters", default_args=TASK, **MANUAL):
    KubernetesPodOperator(
        task_id="everything",
        name="named-{{ dag.dag_id }}",
        labels={"color": "blue", "run": "{{ run_id }}"},
        annotations={"semantics/run": "{{ run_id }}"},
        cmds=["sh", "-c"],
        arguments=["id -u; id -G; cat /config/file /credentials/word; echo; env | sort; ls -ld /scratch"],
        env_vars={"RENDERED": "{{ ti.task_id }}"},
        pod_runtime_info_envs=[
            k8s.V1EnvVar(
                name="NODE",
                value_from=k8s.V1EnvVarSource(field_ref=k8s.V1ObjectFieldSelector(field_path="spec.nodeName")),
            )
        ],
        configmaps=["semantics"],
        env_from=[k8s.V1EnvFromSource(prefix="FROM_", config_map_ref=k8s.V1ConfigMapEnvSource(name="semantics"))],
        secrets=[
            Secret("env", "WORD", "semantics", "word"),
            Secret("volume", "/credentials", "semantics"),
        ],
        volumes=[
            k8s.V1Volume(name="config", config_map=k8s.V1ConfigMapVolumeSource(name="semantics")),
            k8s.V1Volume(name="scratch", empty_dir=k8s.V1EmptyDirVolumeSource()),
        ],
        volume_mounts=[
            k8s.V1VolumeMount(name="config", mount_path="/config"),
            k8s.V1VolumeMount(name="scratch", mount_path="/scratch"),
        ],
        ports=[k8s.V1ContainerPort(name="http", container_port=8080)],
        node_selector={"kubernetes.io/os": "linux"},
        affinity={
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "node-pool", "operator": "In", "values": ["light"]}]}
                    ]
                }
            }
        },
        tolerations=[k8s.V1Toleration(key="semantics", operator="Exists", effect="NoSchedule")],
        security_context={"runAsUser": 1000, "fsGroup": 2000},
        container_security_context={"allowPrivilegeEscalation": False, "runAsGroup": 3000},
        service_account_name="default",
        image_pull_policy="Always",
        image_pull_secrets=[k8s.V1LocalObjectReference("registry")],
        hostname="host",
        subdomain="sub",
        host_aliases=[k8s.V1HostAlias(ip="127.0.0.1", hostnames=["alias.local"])],
        dnspolicy="Default",
        dns_config=k8s.V1PodDNSConfig(searches=["semantics.local"]),
        schedulername="default-scheduler",
        priority_class_name="semantics",
        termination_grace_period=7,
        termination_message_policy="FallbackToLogsOnError",
        active_deadline_seconds=300,
    )
    KubernetesPodOperator(task_id="name_as_given", name="semantics-as-given", random_name_suffix=False)
    KubernetesPodOperator(task_id="template_dict", pod_template_dict=yaml.safe_load((HERE / "pod.yaml").read_text()))
    KubernetesPodOperator(task_id="template_file", pod_template_file=str(HERE / "pod.yaml"), labels={"color": "green"})
    KubernetesPodOperator(
        task_id="full_pod_spec",
        image=None,
        cmds=None,
        full_pod_spec=k8s.V1Pod(
            metadata=k8s.V1ObjectMeta(labels={"color": "white"}),
            spec=k8s.V1PodSpec(
                restart_policy="Never",
                containers=[k8s.V1Container(name="base", image=IMAGE, command=["echo", "full pod spec"])],
            ),
        ),
    )
    KubernetesPodOperator(
        task_id="base_container_name", base_container_name="work", cmds=["echo", "from another container"]
    )
    for logs in (True, False):
        KubernetesPodOperator(
            task_id=f"base_container_name_fails_{'with' if logs else 'without'}_logs",
            base_container_name="work",
            cmds=["sh", "-c", "echo from another container; exit 3"],
            get_logs=logs,
        )
    KubernetesPodOperator(
        task_id="sidecar_that_stays",
        pod_template_dict={
            "spec": {
                "containers": [
                    {"name": "base", "image": IMAGE},
                    {
                        "name": "stays",
                        "image": IMAGE,
                        "command": ["sleep", "60"],
                        "resources": SMALL,
                    },
                ]
            }
        },
    )

with DAG("semantics_refused", default_args=TASK | {"startup_timeout_seconds": 30}, **MANUAL):
    KubernetesPodOperator(task_id="host_network", hostnetwork=True)
    KubernetesPodOperator(task_id="no_such_service_account", service_account_name="nobody")
    KubernetesPodOperator(task_id="no_such_image", image="localhost:5001/no-such-image:1")
    KubernetesPodOperator(task_id="bad_image_name", image="Not A Name")
    KubernetesPodOperator(task_id="no_such_command", cmds=["no-such-command"])
    KubernetesPodOperator(
        task_id="deadline", cmds=["sh", "-c", "trap 'exit 143' TERM; sleep 600 & wait"], active_deadline_seconds=5
    )

with DAG("semantics_xcom", default_args=TASK | {"kubernetes_conn_id": "semantics_kubernetes"}, **MANUAL):
    RETURNS = ["sh", "-c", 'echo "$0" > /airflow/xcom/return.json']
    pushes = KubernetesPodOperator(
        task_id="pushes",
        do_xcom_push=True,
        multiple_outputs=True,
        cmds=RETURNS,
        arguments=['{"answer": 42, "text": "ü \\"quoted\\""}'],
    )
    KubernetesPodOperator(
        task_id="pulls", cmds=["echo", "the answer is {{ ti.xcom_pull('pushes', key='answer') }}"]
    ).set_upstream(pushes)
    lists = KubernetesPodOperator(
        task_id="lists", do_xcom_push=True, cmds=RETURNS, arguments=['[["one"], ["two"], ["three"]]']
    )
    KubernetesPodOperator.partial(task_id="mapped_over_it", cmds=["echo"]).expand(arguments=lists.output)
    KubernetesPodOperator(task_id="not_json", do_xcom_push=True, cmds=RETURNS, arguments=["{not json"])
    KubernetesPodOperator(
        task_id="fails", do_xcom_push=True, cmds=["sh", "-c", "echo '{\"why\": 1}' > /airflow/xcom/return.json; exit 1"]
    )


class Callback(KubernetesPodOperatorCallback):
    """Says in the task's log what it was called for."""

    @staticmethod
    def on_pod_creation(*, pod, client, mode, **kwargs):
        logging.getLogger("airflow.task").info("callback: creation of %s", pod.metadata.name)

    @staticmethod
    def on_pod_starting(*, pod, client, mode, **kwargs):
        logging.getLogger("airflow.task").info("callback: starting of %s", pod.metadata.name)

    @staticmethod
    def on_pod_completion(*, pod, client, mode, **kwargs):
        logging.getLogger("airflow.task").info("callback: completion of %s", pod.metadata.name)

    @staticmethod
    def on_pod_cleanup(*, pod, client, mode, **kwargs):
        logging.getLogger("airflow.task").info("callback: cleanup of %s", pod.metadata.name)

    @staticmethod
    def progress_callback(*, line, client, mode, **kwargs):
        logging.getLogger("airflow.task").info("callback: progress %s", line.strip())


class Colored(KubernetesPodOperator):
    """An operator of a team's own, on top of the stock one."""

    def build_pod_request_obj(self, context=None, **kwargs):
        pod = super().build_pod_request_obj(context, **kwargs)
        pod.metadata.labels["color"] = "red"
        return pod


with DAG("semantics_ways", default_args=TASK, **MANUAL):
    KubernetesPodOperator(task_id="plain")
    KubernetesPodOperator(task_id="deferrable", deferrable=True)
    KubernetesPodOperator(task_id="worker_by_executor", executor="KubernetesExecutor")
    KubernetesPodOperator(task_id="worker_by_config", executor_config={"launch": "worker"})
    KubernetesPodOperator(task_id="callbacks", callbacks=Callback, cmds=["echo", "one step"])
    Colored(task_id="subclass")

    @task
    def python():
        print("a Python task")

    @task.kubernetes(image=IMAGE, namespace="support", container_resources=SMALL)
    def decorated(word):
        print("decorated", word)

    @task.kubernetes_cmd(image=IMAGE, namespace="support")
    def command():
        return ["echo", "a command"]

    python()
    decorated("well")
    command()
