"""The policies as Airflow runs them: a DAG file goes through a DagBag, its tasks build their pods."""

import json
from datetime import timedelta
from unittest.mock import MagicMock

import pytest
from airflow.dag_processing import processor
from airflow.dag_processing.dagbag import DagBag
from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.executors.workloads.base import BundleInfo
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.sdk.execution_time import task_runner
from airflow.settings import get_policy_plugin_manager, pod_mutation_hook
from kubernetes.client import models as k8s

from airflow_platform import config, launch
from airflow_platform.policy import DAG_FILE_ANNOTATION, POOL_ANNOTATION, task_policy
from airflow_platform.task_pod import POOL_LABEL

DAG = """
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import dag, task

@dag(schedule=None)
def example():
    KubernetesPodOperator(task_id="plain", image="report:1.0.0", pool="gpu", annotations={{"team": "support"}})
    KubernetesPodOperator.partial(task_id="mapped", image="report:1.0.0", pool="gpu").expand(arguments=[["a"], ["b"]])
    KubernetesPodOperator.partial(task_id="kwargs", image="report:1.0.0", pool="gpu").expand_kwargs(
        [{{"arguments": ["a"]}}], strict=False
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
    def load(bundle="dags", **names):
        folder = tmp_path / "dags" / "support"
        folder.mkdir(parents=True)
        (folder / "example.py").write_text(DAG.format(**{"python_pool": "light"} | names))
        return DagBag(folder, bundle_path=tmp_path / "dags", bundle_name=bundle)

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
        assert pod.metadata.annotations[DAG_FILE_ANNOTATION] == "support/example.py"
        assert pod.metadata.labels[POOL_LABEL] == "gpu"
    assert pods[0].metadata.annotations == {
        "team": "support",
        POOL_ANNOTATION: "gpu",
        DAG_FILE_ANNOTATION: "support/example.py",
    }


WAITS = """
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator as Pod
from airflow.sdk import DAG

with DAG("waits", schedule=None):
    of = {"image": "report:1.0.0", "pool": "gpu"}
    before = Pod(task_id="plain", **of)
    Pod(task_id="own", schedule_timeout_seconds=60, **of)
    Pod(task_id="longer", startup_timeout_seconds=7200, **of)
    Pod(task_id="other_pool", image="report:1.0.0", pool="light")
    Pod(task_id="elsewhere", in_cluster=False, **of)
    Pod.partial(task_id="mapped", **of).expand(arguments=[["a"]])
    Pod.partial(task_id="mapped_own", schedule_timeout_seconds=60, **of).expand(arguments=[["a"]])
    Pod.partial(task_id="maps_it", **of).expand(schedule_timeout_seconds=[60])
    Pod.partial(task_id="of_xcom", **of).expand_kwargs(before.output)
with DAG("defaults", schedule=None, default_args={"schedule_timeout_seconds": 60}):
    Pod(task_id="default", **of)
"""


def test_a_pod_waits_as_long_as_nodes_of_its_pool_take(platform, monkeypatch, tmp_path):
    pools = [
        pool.model_copy(update={"schedule_timeout": timedelta(minutes=30)} if pool.name == "gpu" else {})
        for pool in platform.node_pools
    ]
    monkeypatch.setattr(config, "load", lambda: platform.model_copy(update={"node_pools": tuple(pools)}))
    (tmp_path / "waits.py").write_text(WAITS)
    dags = DagBag(tmp_path / "waits.py")
    assert dags.import_errors == {}
    tasks = [task for dag in dags.dags.values() for task in dag.tasks]
    waits = {
        one.task_id: one.partial_kwargs.get("schedule_timeout_seconds")
        if one.is_mapped
        else one.schedule_timeout_seconds
        for one in tasks
    }
    assert waits == {
        "plain": 1800, "own": 60, "longer": 7200, "other_pool": 120, "elsewhere": 120, "mapped": None,
        "mapped_own": 60, "maps_it": None, "of_xcom": None, "default": 60,
    }  # fmt: skip


def test_a_mapped_pod_waits_as_long_too_where_it_is_launched(platform, monkeypatch, tmp_path):
    pool = platform.node_pool("gpu").model_copy(update={"schedule_timeout": timedelta(minutes=30)})
    (tmp_path / "waits.py").write_text(WAITS)
    dag = DagBag(tmp_path / "waits.py").dags["waits"]

    def waits(name, **arguments):
        return launch.schedule_timeout(dag.get_task(name).unmap(arguments), pool)

    assert waits("mapped", arguments=["a"]) == waits("of_xcom", arguments=["a"]) == 1800
    assert waits("mapped_own", arguments=["a"]) == waits("maps_it", schedule_timeout_seconds=60) == 60
    assert waits("of_xcom", startup_timeout_seconds=7200) == 7200


REFUSED = """
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("refused", schedule=None):
    before = EmptyOperator(task_id="before")
    image = {{"task_id": "work", "image": "report:1.0.0"}}
    {task}
"""


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ('KubernetesPodOperator.partial(**image).expand(pool=["gpu", "light"])', "maps its pool"),
        ('KubernetesPodOperator.partial(**image).expand_kwargs([{"cmds": ["a"]}, {"pool": "gpu"}])', "maps its pool"),
        ('KubernetesPodOperator.partial(**image).expand(annotations=[{"a": "b"}])', "maps its annotations"),
        ("KubernetesPodOperator.partial(**image).expand(annotations=before.output)", "maps its annotations"),
        ('KubernetesPodOperator.partial(**image).expand_kwargs([{"annotations": {}}])', "maps its annotations"),
        ('KubernetesPodOperator(**image, annotations="{{ params.a }}")', "annotations as a template or an XCom"),
        ("KubernetesPodOperator(**image, annotations=before.output)", "annotations as a template or an XCom"),
    ],
)
def test_a_task_that_would_lose_its_pool_is_an_import_error(platform, tmp_path, task, reason):
    (tmp_path / "refused.py").write_text(REFUSED.format(task=task))
    (error,) = DagBag(tmp_path / "refused.py").import_errors.values()
    assert f"Task refused.work {reason}" in error or f"Task refused.work gives its {reason}" in error


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("executor_config=k8s.V1EnvVar(name='A')", "has an executor_config that is a V1EnvVar, not a dict"),
        ("executor_config={'pod_override': {'spec': {}}}", "has an executor_config whose pod_override is a dict"),
    ],
)
@pytest.mark.parametrize("task", ["PythonOperator({})", "PythonOperator.partial({}).expand(op_args=[[1]])"])
def test_an_executor_config_that_would_stop_the_scheduler_is_an_import_error(tmp_path, task, written, reason):
    (tmp_path / "refused.py").write_text(
        "from airflow.providers.standard.operators.python import PythonOperator\n"
        "from airflow.sdk import DAG\nfrom kubernetes.client import models as k8s\n"
        "with DAG('refused', schedule=None):\n    " + task.format(f"task_id='work', python_callable=print, {written}")
    )
    (error,) = DagBag(tmp_path / "refused.py").import_errors.values()
    assert f"Task refused.work {reason}" in error


def test_a_pod_whose_annotations_an_xcom_replaced_is_refused(platform, load):
    task = load().dags["example"].get_task("kwargs").unmap({"arguments": ["a"], "annotations": {"a": "b"}})
    pod = build(task)
    # Of a pod that is really created; a dry run has no cluster.
    pod.metadata.labels["airflow_kpo_in_cluster"] = "True"
    with pytest.raises(AirflowClusterPolicyViolation, match="replaced those that name its pool"):
        pod_mutation_hook(pod)


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


def test_a_declared_pool_limits_tasks_and_says_nothing_of_nodes(write_config, load):
    write_config("nodePools: [{name: light, slots: 1}, {name: gpu, slots: 1}]\ndeclared: {pools: [{name: gpu-api}]}")
    dags = load(python_pool="gpu-api")
    assert dags.import_errors == {}
    task = KubernetesPodOperator(task_id="asks", image="report:1.0.0", pool="gpu-api", dag=dags.dags["example"])
    task_policy(task)
    assert not build(task).spec.node_selector


def test_without_node_pools_every_pool_passes(write_config, load):
    write_config("imageRegistry: example.com")
    dags = load(python_pool="anything")
    assert dags.import_errors == {}
    pod = build(dags.dags["example"].get_task("plain"))
    assert pod.metadata.annotations == {"team": "support", DAG_FILE_ANNOTATION: "support/example.py"}
    assert POOL_LABEL not in pod.metadata.labels


@pytest.mark.parametrize(
    "task",
    [
        "(**image, annotations={{'{}': 'ours/dag.py'}})",
        ".partial(**image, annotations={{'{}': 'ours/dag.py'}}).expand(cmds=[['a']])",
    ],
)
def test_a_dag_cannot_say_that_its_file_is_another(write_config, tmp_path, task):
    write_config("{}")
    (tmp_path / "theirs").mkdir()
    text = REFUSED.format(task="KubernetesPodOperator" + task.format(DAG_FILE_ANNOTATION))
    (tmp_path / "theirs" / "dag.py").write_text(text)
    bag = DagBag(tmp_path / "theirs", bundle_path=tmp_path, bundle_name="dags")
    task = bag.dags["refused"].get_task("work")
    pod = build(task.unmap({"cmds": ["a"]}) if task.is_mapped else task)
    assert pod.metadata.annotations[DAG_FILE_ANNOTATION] == "theirs/dag.py"


@pytest.mark.parametrize("task", ["plain", "mapped"])
def test_the_file_of_another_bundle_has_its_name(platform, load, task):
    operator = load(bundle="research").dags["example"].get_task(task)
    pod = build(operator.unmap({"arguments": ["a"]}) if operator.is_mapped else operator)
    assert pod.metadata.annotations[DAG_FILE_ANNOTATION] == "research:/support/example.py"


def test_the_dag_processor_and_a_worker_note_the_same_file(platform, tmp_path, monkeypatch):
    (tmp_path / "support").mkdir()
    file = tmp_path / "support" / "example.py"
    file.write_text(DAG.format(python_pool="light"))
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [{"name": "research", "classpath": local, "kwargs": {"path": str(tmp_path)}}]
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))

    request = processor.DagFileParseRequest(file=str(file), bundle_path=tmp_path, bundle_name="research")
    (stored,) = processor._parse_file(request, MagicMock()).serialized_dags
    details = MagicMock(dag_rel_path="support/example.py", bundle_info=BundleInfo(name="research"))
    details.ti = MagicMock(dag_id="example", task_id="plain", model_dump=lambda **_: {})
    run = task_runner.parse(details, MagicMock())

    note = "research:/support/example.py"
    assert run.task.annotations[DAG_FILE_ANNOTATION] == note
    assert json.dumps(stored.data).count(f'"{DAG_FILE_ANNOTATION}": "{note}"') == 4


@pytest.mark.parametrize(
    ("bundle", "file", "said", "noted"),
    [
        # Files of another team, and a name of the bundle that Airflow's DAGs do not have.
        ("dags", "theirs/dag.py", "__file__ = '{}/ours/dag.py'", "theirs/dag.py"),
        ("dags", "theirs/dag.py", "__file__ = '{}/ours/../theirs/dag.py'", "theirs/dag.py"),
        ("research", "dag.py", "__file__ = '{}/ours/dag.py'; bundle_name = 'dags'", "research:/dag.py"),
        ("research", "dag.py", "DAG.bundle_name = 'dags'", "research:/dag.py"),
        # Folders that have the names of a bundle.
        ("dags", "research:/dag.py", "", "dags:/research:/dag.py"),
        ("other", "research:/dag.py", "", "other:/research:/dag.py"),
        # As a worker has it where the scheduler took it from such a DAG.
        ("dags", "ours/../theirs/dag.py", "", "theirs/dag.py"),
        (None, "ours/dag.py", "", "None:/ours/dag.py"),
    ],
)
def test_where_a_file_is_does_not_come_from_the_file(write_config, tmp_path, bundle, file, said, noted):
    write_config("{}")
    (tmp_path / "ours").mkdir()
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(REFUSED.format(task="KubernetesPodOperator(**image)") + said.format(tmp_path))
    bag = DagBag(path, bundle_path=tmp_path, bundle_name=bundle)
    pod = build(bag.dags["refused"].get_task("work"))
    assert pod.metadata.annotations[DAG_FILE_ANNOTATION] == noted


def test_a_file_that_is_not_known_is_not_what_a_dag_says(write_config):
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

    write_config("{}")
    task = KubernetesPodOperator(task_id="work", image="a:1", annotations={DAG_FILE_ANNOTATION: "ours/dag.py"})
    task_policy(task)
    assert task.annotations[DAG_FILE_ANNOTATION] == ""


def test_the_file_is_left_out_where_annotations_come_with_the_run(write_config, tmp_path):
    write_config("{}")
    mapped = 'KubernetesPodOperator.partial(**image).expand(annotations=[{"a": "b"}])'
    (tmp_path / "dag.py").write_text(REFUSED.format(task=mapped))
    bag = DagBag(tmp_path, bundle_path=tmp_path)
    assert bag.import_errors == {}
    task = bag.dags["refused"].get_task("work")
    assert build(task.unmap({"annotations": {"a": "b"}})).metadata.annotations == {"a": "b"}
    # Also where they bring one.
    forged = {"a": "b", DAG_FILE_ANNOTATION: "ours/dag.py"}
    assert build(task.unmap({"annotations": forged})).metadata.annotations == {"a": "b"}


def test_a_malformed_configuration_is_an_import_error_that_says_where(write_config, load):
    path = write_config("nodePools: [{name: gpu}]")
    (error,) = load().import_errors.values()
    assert f"{path}: nodePools[0].slots: is missing" in error


NOT_OURS = [{"kubernetes_executor": "True"}, {"airflow_kpo_in_cluster": "False"}]


@pytest.mark.parametrize("labels", NOT_OURS)
def test_pods_that_are_not_ours_to_fill_in_stay_but_for_a_file_that_nobody_noted(platform, labels):
    def pod(**more):
        return k8s.V1Pod(
            metadata=k8s.V1ObjectMeta(labels=labels, annotations={"a": "b"} | more),
            spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base", image="worker:1")]),
        )

    mutated = pod(**{DAG_FILE_ANNOTATION: "another/dag.py"})
    pod_mutation_hook(mutated)
    assert mutated == pod()


@pytest.mark.parametrize("labels", NOT_OURS)
def test_labels_of_a_dag_do_not_make_its_pods_others(platform, load, monkeypatch, labels):
    monkeypatch.setattr(KubernetesPodOperator, "hook", MagicMock(is_in_cluster=True))
    annotations = {"a": "b", POOL_ANNOTATION: "gpu", DAG_FILE_ANNOTATION: "another/dag.py"}
    given = {"arguments": ["a"], "namespace": "support", "labels": labels, "annotations": annotations}
    pod = load().dags["example"].get_task("kwargs").unmap(given).build_pod_request_obj()
    assert pod.metadata.annotations == {"a": "b", POOL_ANNOTATION: "gpu"}
    assert pod.spec.node_selector == {"node-pool": "gpu"}
    assert pod.metadata.labels[POOL_LABEL] == "gpu"


def test_a_worker_pod_cannot_be_said_to_be_of_another_file(platform):
    override = k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(namespace="support", annotations={DAG_FILE_ANNOTATION: "another/dag.py", "a": "b"})
    )
    template = k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(), spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base", image="worker:1")])
    )
    pod = PodGenerator.construct_pod(
        dag_id="dag", task_id="task", pod_id="worker", try_number=1, kube_image="worker:1", date=None, args=["run"],
        pod_override_object=override, base_worker_pod=template, namespace="airflow", scheduler_job_id="1",
        with_mutation_hook=True,
    )  # fmt: skip
    assert pod.metadata.annotations == {"dag_id": "dag", "task_id": "task", "try_number": "1", "a": "b"}
    # All that the executor gives it is there, and nothing that task pods get.
    assert pod.metadata.labels["kubernetes_executor"] == "True"
    assert POOL_LABEL not in pod.metadata.labels
    assert (pod.spec.containers[0].image, pod.spec.containers[0].args) == ("worker:1", ["run"])
    assert pod.spec.security_context is None
