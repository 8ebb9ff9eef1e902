"""Which way tasks go, as Airflow decides it: a DAG file goes through a DagBag."""

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.serialization.serialized_objects import DagSerialization

from airflow_platform import launch
from airflow_platform.operator import PodTask

LAUNCHER = "launcher: {kind: local}"

HEAD = """
from airflow.providers.cncf.kubernetes.callbacks import KubernetesPodOperatorCallback
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, task

class Own(KubernetesPodOperator):
    def __init__(self, *, image="own", **words):
        super().__init__(image=image, **words)

class Other(KubernetesPodOperator):
    def find_pod(self, *words, **more):
        return super().find_pod(*words, **more)

class Callback(KubernetesPodOperatorCallback):
    pass

with DAG("example", schedule=None{default_args}) as dag:
    words = {{"task_id": "work", "image": "report:1.0.0"}}
    {task}
"""


@pytest.fixture
def bag(tmp_path, write_config, executors):
    """The DagBag of one task, under a configuration of the launcher."""

    def bag(task, config=LAUNCHER, default_args=""):
        write_config(config)
        (tmp_path / "example.py").write_text(HEAD.format(task=task, default_args=default_args))
        return DagBag(tmp_path / "example.py")

    return bag


@pytest.fixture
def load(bag):
    def load(*words, **more):
        found = bag(*words, **more)
        assert found.import_errors == {}
        return found.dags["example"].get_task("work")

    return load


def launched(task):
    operator = task.operator_class if task.is_mapped else type(task)
    return issubclass(operator, PodTask), task.executor


@pytest.mark.parametrize(
    "task",
    [
        "KubernetesPodOperator(**words)",
        "KubernetesPodOperator(**words, deferrable=True)",
        "KubernetesPodOperator(**words, executor='launcher')",
        "KubernetesPodOperator.partial(**words).expand(arguments=[['a'], ['b']])",
        "KubernetesPodOperator.partial(**words).expand_kwargs([{'arguments': ['a']}])",
        "task.kubernetes(**words)(lambda: 1)()",
        "task.kubernetes_cmd(**words)(lambda: ['echo'])()",
        "task.kubernetes(**words)(lambda n: n).expand(n=[1, 2])",
        "Own(task_id='work')",
    ],
)
def test_tasks_of_the_stock_operator_and_its_decorators_are_launched(load, task):
    assert launched(load(task)) == (True, "launcher")


@pytest.mark.parametrize(
    "task",
    [
        "KubernetesPodOperator(**words, executor='KubernetesExecutor')",
        "KubernetesPodOperator.partial(**words, executor='KubernetesExecutor').expand(arguments=[['a']])",
        "KubernetesPodOperator(**words, executor_config={'launch': 'worker'})",
        "KubernetesPodOperator.partial(**words, executor_config={'launch': 'worker'}).expand(arguments=[['a']])",
    ],
)
def test_a_task_may_keep_the_old_way(load, task):
    is_launched, executor = launched(load(task))
    assert not is_launched
    assert executor in (None, "KubernetesExecutor")


def test_a_dag_may_keep_the_old_way(load):
    task = load(
        "KubernetesPodOperator(**words)", default_args=", default_args={'executor_config': {'launch': 'worker'}}"
    )
    assert launched(task) == (False, None)


def test_the_platform_may_keep_the_old_way_and_a_task_leave_it(load):
    config = "launcher: {kind: local, launch: worker}"
    assert launched(load("KubernetesPodOperator(**words)", config)) == (False, None)
    assert launched(load("KubernetesPodOperator(**words, executor_config={'launch': 'trigger'})", config))[0]


def test_without_a_launcher_nothing_changes(load):
    assert launched(load("KubernetesPodOperator(**words)", "launcher: {kind: none}")) == (False, None)


def test_other_tasks_are_left_alone(load):
    task = load("PythonOperator(task_id='work', python_callable=print); KubernetesPodOperator(task_id='pod')")
    assert task.executor is None
    assert type(task).__name__ == "PythonOperator"


KEPT = [
    ("Other(**words)", "its class Other has a find_pod of its own"),
    ("Other.partial(**words).expand(arguments=[['a']])", "its class Other has a find_pod of its own"),
    ("KubernetesPodOperator(**words, callbacks=Callback)", "callbacks is code"),
    ("KubernetesPodOperator.partial(**words, callbacks=[Callback]).expand(arguments=[['a']])", "callbacks is code"),
    ("KubernetesPodOperator.partial(**words).expand(callbacks=[Callback])", "callbacks is code"),
    ("KubernetesPodOperator.partial(**words).expand_kwargs([{'callbacks': Callback}])", "callbacks is code"),
    ("KubernetesPodOperator(**words, log_formatter=lambda container, line: line)", "log_formatter is code"),
    ("KubernetesPodOperator(**words, progress_callback=print)", "progress_callback is code"),
    ("KubernetesPodOperator(**words, config_file='/kubeconfig')", "config_file is a file"),
]


@pytest.mark.parametrize(("task", "reason"), KEPT)
def test_what_only_a_worker_can_do_keeps_the_old_way_and_the_log_says_why(load, caplog, task, reason):
    with caplog.at_level("INFO", logger="airflow_platform.launch"):
        assert launched(load(task)) == (False, None)
    assert f"Task example.work is launched by a worker pod: {reason}" in caplog.text


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("KubernetesPodOperator(**words, poll_interval=30, trigger_kwargs={'a': 1})", "poll_interval, trigger_kwargs"),
        ("KubernetesPodOperator.partial(**words, logging_interval=30).expand(name=['a'])", "logging_interval"),
        ("KubernetesPodOperator(**words, poll_interval=2)", ""),
    ],
)
def test_what_does_nothing_for_a_launched_task_is_said(load, caplog, task, said):
    with caplog.at_level("INFO", logger="airflow_platform.launch"):
        load(task)
    assert caplog.text.count("has no use for") == bool(said)
    assert f"Task example.work is launched, and has no use for {said}" in caplog.text or not said


def test_what_is_for_a_worker_pod_is_said_to_change_nothing(load, caplog):
    override = "executor_config={'pod_override': __import__('kubernetes').client.V1Pod()}"
    with caplog.at_level("INFO", logger="airflow_platform.launch"):
        assert launched(load(f"KubernetesPodOperator(**words, {override})"))[0]
    assert "Task example.work has no worker pod, which its pod_override would be for" in caplog.text


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (
            "KubernetesPodOperator(**words, executor_config={'launch': 'warp'})",
            "Task example.work has executor_config={'launch': 'warp'}. Known ways: trigger, worker",
        ),
        (
            "KubernetesPodOperator(**words, executor_config={'infrastructure_retries': -1})",
            "Task example.work has executor_config={'infrastructure_retries': -1}. Write a number, 0 or more.",
        ),
        (
            "KubernetesPodOperator(**words, executor_config={'infrastructure_retries': True})",
            "Task example.work has executor_config={'infrastructure_retries': True}. Write a number, 0 or more.",
        ),
        (
            "KubernetesPodOperator(**words, executor_config={'launch': 'trigger'}, callbacks=Callback)",
            "Task example.work asks for executor_config={'launch': 'trigger'}, and cannot have it: callbacks is code",
        ),
    ],
)
def test_a_way_that_cannot_be_taken_is_an_import_error(bag, task, reason):
    (error,) = bag(task).import_errors.values()
    assert reason in error


@pytest.mark.parametrize(
    "task",
    [
        "KubernetesPodOperator(**words, do_xcom_push=True, env_vars={'A': '{{ ds }}'})",
        "KubernetesPodOperator.partial(**words).expand(arguments=[['a'], ['b']])",
        "task.kubernetes(**words)(lambda: 1)()",
        "Own(task_id='work')",
    ],
)
def test_a_launched_task_is_stored_as_the_stock_task_but_for_its_executor(bag, task):
    def stored(config):
        found = bag(task, config)
        assert found.import_errors == {}
        return DagSerialization.to_dict(found.dags["example"])

    def without_executor(data):
        for one in data["dag"]["tasks"]:
            one["__var"].pop("executor", None)
            one["__var"].get("partial_kwargs", {}).pop("executor", None)
        data["dag"].pop("last_loaded", None)
        return data

    ours = stored(LAUNCHER)
    read = DagSerialization.from_dict(ours).get_task("work")
    assert read.executor == "launcher"
    assert without_executor(ours) == without_executor(stored("launcher: {kind: none}"))


def test_a_mapped_task_unmaps_to_a_launched_one(load):
    task = load("KubernetesPodOperator.partial(**words, retries=3).expand(arguments=[['a'], ['b']])")
    one = task.unmap({"arguments": ["a"]})
    assert isinstance(one, PodTask)
    assert (one.arguments, one.image, one.retries, one.executor) == (["a"], "report:1.0.0", 3, "launcher")


def test_what_an_xcom_maps_and_cannot_be_kept_is_found_when_it_comes(load):
    task = load("KubernetesPodOperator.partial(**words).expand_kwargs(task(task_id='before')(lambda: [])())")
    assert launched(task) == (True, "launcher")
    assert launch.refused(task.unmap({"arguments": ["a"]})) == ""
    assert launch.refused(task.unmap({"config_file": "/kubeconfig"})).startswith("config_file is a file")


@pytest.mark.parametrize("name", launch._RELIED_ON)
def test_the_operator_still_has_what_is_relied_on(name):
    assert hasattr(KubernetesPodOperator, name)


@pytest.mark.parametrize("module", launch._STOCK)
def test_the_stock_modules_are_still_there(module):
    __import__(module)
