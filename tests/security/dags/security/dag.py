"""DAGs of the security tests: what a hostile author asks for, and a task that looks around in its pod."""

from datetime import UTC, datetime
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from kubernetes.client import models as k8s

HERE = Path(__file__).parent
SUITE = yaml.safe_load((HERE / "suite.yaml").read_text())
VERSIONS = yaml.safe_load((HERE.parent / "images.yaml").read_text())

ARGUMENTS = {
    "schedule": None,
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "catchup": False,
    "tags": ["security", SUITE["revision"]],
    "default_args": {
        "owner": "security",
        "retries": 0,
        "namespace": "support",
        "image": f"ticket-extract:{VERSIONS['ticket-extract']}",
        "pool": "light",
        "cmds": ["python", "-c", "print('it ran')"],
        "do_xcom_push": False,
    },
}


def context(**security):
    return k8s.V1SecurityContext(**security)


with DAG("security_hostile", **ARGUMENTS):
    host = k8s.V1Volume(name="root", host_path=k8s.V1HostPathVolumeSource(path="/"))
    KubernetesPodOperator(
        task_id="folder_of_the_node",
        volumes=[host],
        volume_mounts=[k8s.V1VolumeMount(name="root", mount_path="/node")],
    )
    KubernetesPodOperator(task_id="privileged", container_security_context=context(privileged=True))
    KubernetesPodOperator(
        task_id="capability",
        container_security_context=context(capabilities=k8s.V1Capabilities(drop=["ALL"], add=["SYS_ADMIN"])),
    )
    KubernetesPodOperator(task_id="network_of_the_node", hostnetwork=True)
    KubernetesPodOperator(
        task_id="node",
        full_pod_spec=k8s.V1Pod(
            metadata=k8s.V1ObjectMeta(name="hostile-node"),
            spec=k8s.V1PodSpec(node_name=SUITE["node"], containers=[k8s.V1Container(name="base")]),
        ),
    )
    KubernetesPodOperator(task_id="foreign_image", image="docker.io/library/alpine:3.22")
    KubernetesPodOperator(task_id="image_of_another_team", image="airflow:3.3.2")
    KubernetesPodOperator(
        task_id="foreign_init_image",
        init_containers=[k8s.V1Container(name="first", image="docker.io/library/alpine:3.22")],
    )
    KubernetesPodOperator(task_id="account", service_account_name="default")
    KubernetesPodOperator(task_id="priority", priority_class_name="system-node-critical")
    KubernetesPodOperator(
        task_id="namespace_of_the_platform", namespace="airflow", service_account_name="airflow-worker"
    )
    KubernetesPodOperator(task_id="namespace_of_the_cluster", namespace="kube-system")

with DAG("security_probe", **ARGUMENTS):
    KubernetesPodOperator(
        task_id="look_around",
        cmds=["python", "-u", "-c", (HERE / "probe.py").read_text()],
        arguments=[f"{name}={host}:{port}" for name, (host, port) in SUITE["places"].items()],
    )
