"""The policies as Airflow runs them: a DAG file goes through a DagBag, its tasks build their pods."""

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.settings import get_policy_plugin_manager, pod_mutation_hook
from kubernetes.client import models as k8s

from airflow_platform.policy import POOL_ANNOTATION

DAG = """
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import dag, task

@dag(schedule=None)
def example():
    KubernetesPodOperator(task_id="plain", image="report:1.0.0", pool="gpu", annotations={{"team": "support"}})
    KubernetesPodOperator.partial(task_id="mapped", image="report:1.0.0", pool="gpu").expand(arguments=[["a"], ["b"]])
    KubernetesPodOperator.partial(task_id="kwargs", image="report:1.0.0", pool="gpu").expand_kwargs(
        [{{"arguments": ["a"]}}]
    )
    KubernetesPodOperator.partial(task_id="annotated", image="report:1.0.0", pool="gpu").expand(
        annotations=[{{"a": "b"}}]
    )
    KubernetesPodOperator(task_id="anywhere", image="report:1.0.0")

    @task(pool="{python_pool}")
    def python():
        pass

    python()

example()
"""


@pytest.fixture
def load(tmp_path):
    def load(**names):
        folder = tmp_path / "dags"
        folder.mkdir()
        (folder / "example.py").write_text(DAG.format(**{"python_pool": "light"} | names))
        return DagBag(folder)

    return load


def build(operator):
    return operator.build_pod_request_obj(dry_run=True)


def test_airflow_loads_the_policy_through_its_entry_point():
    assert "airflow-platform" in [name for name, _ in get_policy_plugin_manager().list_name_plugin()]


def test_pods_of_plain_and_mapped_tasks_run_in_their_pool(platform, load):
    dags = load()
    assert dags.import_errors == {}
    dag = dags.dags["example"]
    pods = [
        build(dag.get_task("plain")),
        build(dag.get_task("mapped").unmap({"arguments": ["a"]})),
        build(dag.get_task("kwargs").unmap({"arguments": ["a"]})),
    ]
    for pod in pods:
        assert pod.spec.node_selector == {"node-pool": "gpu"}
        assert pod.spec.tolerations[0].value == "gpu"
        assert pod.spec.containers[0].image == "registry.example.com:5000/report:1.0.0"
        assert pod.spec.security_context.run_as_non_root is True
    assert pods[0].metadata.annotations == {"team": "support", POOL_ANNOTATION: "gpu"}


def test_a_task_mapped_over_annotations_still_expands(platform, load):
    task = load().dags["example"].get_task("annotated")
    assert "annotations" not in task.partial_kwargs


def test_a_task_of_the_default_pool_runs_anywhere(platform, load):
    pod = build(load().dags["example"].get_task("anywhere"))
    assert not pod.spec.node_selector
    assert pod.spec.security_context.run_as_non_root is True


def test_an_unknown_pool_is_an_import_error_that_names_the_known_ones(platform, load):
    dags = load(python_pool="gpuu")
    assert dags.dags == {}
    (error,) = dags.import_errors.values()
    assert "example.python names the pool 'gpuu'" in error
    assert "default_pool, gpu, light" in error


def test_without_node_pools_every_pool_passes(write_config, load):
    write_config("imageRegistry: example.com")
    dags = load(python_pool="anything")
    assert dags.import_errors == {}
    assert build(dags.dags["example"].get_task("plain")).metadata.annotations == {"team": "support"}


def test_a_malformed_configuration_is_an_import_error_that_says_where(write_config, load):
    path = write_config("nodePools: [{name: gpu}]")
    (error,) = load().import_errors.values()
    assert f"{path}: nodePools[0].slots: is missing" in error


@pytest.mark.parametrize("labels", [{"kubernetes_executor": "True"}, {"airflow_kpo_in_cluster": "False"}])
def test_pods_that_are_not_ours_to_fill_in_stay(platform, labels):
    def pod():
        return k8s.V1Pod(
            metadata=k8s.V1ObjectMeta(labels=labels),
            spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base", image="worker:1")]),
        )

    mutated = pod()
    pod_mutation_hook(mutated)
    assert mutated == pod()
