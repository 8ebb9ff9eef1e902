"""Worker sets as Airflow meets them: through a DagBag, the database, and what KubernetesExecutor makes of a task."""

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.serialization.serialized_objects import DagSerialization

SETS = """
launcher: {kind: local}
workerSets:
  - queue: large
    pod:
      metadata: {labels: {size: large}, annotations: {note: a}}
      spec:
        nodeSelector: {node-pool: large}
        tolerations: [{key: node-pool, operator: Equal, value: large, effect: NoSchedule}]
        containers: [{name: base, resources: {requests: {memory: 4Gi}}}]
"""
#: What the chart's own template says of a worker.
TEMPLATE = """
metadata: {labels: {component: worker}}
spec:
  nodeSelector: {node-pool: light}
  containers: [{name: base, image: airflow:3, env: [{name: A, value: b}], resources: {requests: {memory: 1Gi}}}]
"""
DAG = """
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from kubernetes.client import models as k8s

python = {{"task_id": "python", "python_callable": print}}
image = {{"task_id": "image", "image": "report:1.0.0"}}
own = k8s.V1Pod(
    metadata=k8s.V1ObjectMeta(labels={{"own": "yes"}}),
    spec=k8s.V1PodSpec(
        containers=[k8s.V1Container(name="base", resources=k8s.V1ResourceRequirements(requests={{"memory": "8Gi"}}))]
    ),
)
with DAG("example", schedule=None):
    {task}
"""


@pytest.fixture
def load(tmp_path, write_config, executors):
    def load(task, sets=SETS):
        write_config(sets)
        (tmp_path / "example.py").write_text(DAG.format(task=task))
        return DagBag(tmp_path / "example.py")

    return load


def worker(bag):
    """The pod that KubernetesExecutor makes of the DAG's task, from what the database has of it."""
    assert bag.import_errors == {}
    dag = DagSerialization.from_dict(DagSerialization.to_dict(bag.dags["example"]))
    (task,) = dag.tasks
    template = PodGenerator.deserialize_model_dict(yaml.safe_load(TEMPLATE))
    return PodGenerator.reconcile_pods(template, PodGenerator.from_obj(task.executor_config or {}))


@pytest.mark.parametrize(
    "task",
    [
        'PythonOperator(**python, queue="large")',
        'PythonOperator.partial(**python, queue="large").expand(op_args=[[1], [2]])',
        'KubernetesPodOperator(**image, queue="large", executor_config={"launch": "worker"})',
    ],
)
def test_a_task_has_the_worker_of_its_queue(load, task):
    pod = worker(load(task))
    assert pod.metadata.labels == {"component": "worker", "size": "large"}
    assert pod.metadata.annotations == {"note": "a"}
    assert pod.spec.node_selector == {"node-pool": "large"}
    assert pod.spec.tolerations[0].value == "large"
    (container,) = pod.spec.containers
    assert (container.name, container.image, container.env[0].value) == ("base", "airflow:3", "b")
    assert container.resources.requests == {"memory": "4Gi"}


def test_what_the_task_says_itself_stays(load):
    task = 'PythonOperator(**python, queue="large", executor_config={"pod_override": own, "other": 1})'
    bag = load(task)
    pod = worker(bag)
    assert pod.metadata.labels == {"component": "worker", "size": "large", "own": "yes"}
    assert pod.spec.containers[0].resources.requests == {"memory": "8Gi"}
    assert pod.spec.node_selector == {"node-pool": "large"}
    assert bag.dags["example"].get_task("python").executor_config["other"] == 1


@pytest.mark.parametrize(
    "task",
    [
        "PythonOperator(**python)",
        'PythonOperator(**python, queue="default")',
        # They have no worker pod, or another executor's.
        'KubernetesPodOperator(**image, queue="large")',
        'KubernetesPodOperator(**image, queue="anything")',
    ],
)
def test_others_are_left_alone(load, task):
    bag = load(task)
    assert bag.import_errors == {}
    (task,) = bag.dags["example"].tasks
    assert "pod_override" not in (task.executor_config or {})


@pytest.mark.parametrize(
    "task",
    ['PythonOperator(**python, queue="big")', 'PythonOperator.partial(**python, queue="big").expand(op_args=[[1]])'],
)
def test_an_unknown_queue_is_an_import_error_that_names_the_known_ones(load, task):
    (error,) = load(task).import_errors.values()
    assert "Task example.python names the queue 'big', which does not exist. Known queues: default, large." in error


def test_without_sets_every_queue_passes(load):
    bag = load('PythonOperator(**python, queue="big")', sets="{}")
    assert bag.import_errors == {}


def test_the_queues_of_another_executor_are_its_own(load, monkeypatch):
    assert load('PythonOperator(**python, queue="big")').import_errors
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor,KubernetesExecutor")
    assert load('PythonOperator(**python, queue="big")').import_errors == {}
