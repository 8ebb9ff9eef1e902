"""What a task's pod is given of its pool's resources, and what is too much, as its operator builds it."""

import pytest
from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.providers.cncf.kubernetes.utils.xcom_sidecar import add_xcom_sidecar
from airflow.sdk.exceptions import AirflowFailException
from kubernetes.client import models as k8s

from airflow_platform import config
from airflow_platform.config import Resources
from airflow_platform.task_pod import fill_in
from airflow_platform.task_resources import fill_in as fill_in_resources

PLATFORM = """
nodePools:
  - name: light
    slots: 32
    resources: {requests: {cpu: 100m, memory: 256Mi}, limits: {memory: 1Gi}}
    largest: {cpu: "2", memory: 4Gi, nvidia.com/gpu: "0"}
  - name: gpu
    slots: 4
    resources: {requests: {cpu: "1"}, limits: {memory: 2Gi, nvidia.com/gpu: "1"}}
    largest: {cpu: "8", memory: 32Gi, nvidia.com/gpu: "1"}
    priorityClassName: airflow.airflow.gpu-1000
    quota: {pods: "8"}
  - name: huge
    slots: 1
    largest: {cpu: "64", memory: 512Gi}
    priorityClassName: airflow.airflow.huge-0
  - name: open
    slots: 1
"""


@pytest.fixture
def pools(write_config):
    write_config(PLATFORM)
    return config.load()


def container(name="base", requests=None, limits=None, **more):
    return k8s.V1Container(name=name, resources=k8s.V1ResourceRequirements(requests=requests, limits=limits), **more)


def made(pools, pool, *containers, **spec):
    """The pod of a task of that pool, as it is created."""
    labels = {"dag_id": "example", "task_id": "work", "airflow_kpo_in_cluster": "True"}
    pod = k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(labels=labels),
        spec=k8s.V1PodSpec(containers=list(containers) or [k8s.V1Container(name="base")], **spec),
    )
    fill_in(pod, pools, pools.node_pool(pool))
    return pod.spec


def resources(one):
    return one.resources.requests, one.resources.limits


def test_a_task_that_sets_nothing_gets_what_its_pool_gives(pools):
    spec = made(pools, "light")
    assert resources(spec.containers[0]) == ({"cpu": "100m", "memory": "256Mi"}, {"memory": "1Gi"})


@pytest.mark.parametrize(
    ("own", "filled"),
    [
        # By resource: what is set stays, the rest is filled in.
        (({"cpu": "50m"}, None), ({"cpu": "50m", "memory": "256Mi"}, {"memory": "1Gi"})),
        # A limit alone is a request too, as Kubernetes has it: no smaller request is put beside it.
        ((None, {"memory": "128Mi"}), ({"cpu": "100m"}, {"memory": "128Mi"})),
        # A default limit is never less than what the task asks for.
        (({"memory": "3Gi"}, None), ({"memory": "3Gi", "cpu": "100m"}, {"memory": "3Gi"})),
        (({"cpu": 1, "memory": "1Gi"}, {"memory": "2Gi"}), ({"cpu": 1, "memory": "1Gi"}, {"memory": "2Gi"})),
    ],
)
@pytest.mark.parametrize("written", ["model", "dict"])
def test_what_a_task_sets_stays(pools, own, filled, written):
    requests, limits = own
    one = container(requests=requests, limits=limits)
    if written == "dict":
        one.resources = {key: value for key, value in (("requests", requests), ("limits", limits)) if value}
    spec = made(pools, "light", one)
    found = spec.containers[0].resources
    assert ((found["requests"], found["limits"]) if written == "dict" else resources(spec.containers[0])) == filled


def test_resources_that_tasks_share_are_not_changed(pools):
    shared = k8s.V1ResourceRequirements(requests={"cpu": "1"}, claims=[k8s.CoreV1ResourceClaim(name="gpu")])
    spec = made(pools, "light", k8s.V1Container(name="base", resources=shared))
    assert shared.limits is None
    assert spec.containers[0].resources.claims == shared.claims
    assert spec.containers[0].resources.limits == {"memory": "1Gi"}


def test_filling_in_twice_changes_nothing(pools):
    spec = made(pools, "light", container(limits={"memory": "128Mi"}), container("side", requests={"memory": "3Gi"}))
    once = [one.to_dict() for one in spec.containers]
    fill_in_resources(spec, pools.node_pool("light").resources)
    assert [one.to_dict() for one in spec.containers] == once


def test_a_device_is_the_tasks_own_container_s_and_the_rest_every_container_s(pools):
    spec = made(
        pools,
        "gpu",
        k8s.V1Container(name="work"),
        k8s.V1Container(name="side"),
        init_containers=[k8s.V1Container(name="init")],
    )
    assert resources(spec.containers[0]) == ({"cpu": "1"}, {"memory": "2Gi", "nvidia.com/gpu": "1"})
    assert resources(spec.containers[1]) == ({"cpu": "1"}, {"memory": "2Gi"})
    assert resources(spec.init_containers[0]) == ({"cpu": "1"}, {"memory": "2Gi"})


def test_the_xcom_sidecar_keeps_its_small_requests_and_gets_a_small_limit(pools):
    pod = k8s.V1Pod(metadata=k8s.V1ObjectMeta(), spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base")]))
    spec = add_xcom_sidecar(pod).spec
    fill_in_resources(spec, pools.node_pool("gpu").resources)
    assert resources(spec.containers[1]) == ({"cpu": "1m", "memory": "10Mi"}, {"memory": "64Mi"})


def test_what_is_set_for_the_pod_as_a_whole_is_its_containers_to_share(pools):
    whole = k8s.V1ResourceRequirements(limits={"memory": "512Mi"})
    spec = made(pools, "light", resources=whole)
    assert resources(spec.containers[0]) == ({"cpu": "100m"}, None)


def test_a_pod_of_no_pool_gets_nothing(pools):
    assert made(pools, "default_pool").containers[0].resources is None


def test_resources_without_defaults_are_left_as_they_are():
    one = container(requests={"cpu": "1"})
    before = one.resources
    fill_in_resources(k8s.V1PodSpec(containers=[one]), Resources())
    assert one.resources is before


TOO_MUCH = "Task example.work asks for {}, and pool {!r} gives one task at most {}. Ask for less in container_resources"


@pytest.mark.parametrize(
    ("pool", "asks", "words", "allows", "instead"),
    [
        ("light", {"cpu": "2500m"}, "2.5 CPU", "2 CPU", ", or name a pool that gives so much: gpu, huge."),
        ("gpu", {"cpu": "16"}, "16 CPU", "8 CPU", ", or name a pool that gives so much: huge."),
        ("gpu", {"memory": "600Gi"}, "600Gi of memory", "32Gi of memory", "; what a pool gives is `largest`"),
        ("light", {"cpu": "3", "memory": "5Gi"}, "3 CPU and 5Gi of memory", "2 CPU and 4Gi of memory", ", or name "),
        ("light", {"nvidia.com/gpu": "1"}, "1 nvidia.com/gpu", "0 nvidia.com/gpu", ", or name a pool"),
    ],
)  # fmt: skip
def test_more_than_the_pool_gives_fails_the_task_for_good(pools, pool, asks, words, allows, instead):
    with pytest.raises(AirflowFailException) as raised:
        made(pools, pool, container(limits=asks))
    assert str(raised.value).startswith(TOO_MUCH.format(words, pool, allows) + instead)


def test_as_much_as_the_pool_gives_is_not_too_much(pools):
    made(pools, "light", container(requests={"cpu": "2", "memory": "4Gi"}))
    made(pools, "open", container(requests={"cpu": "2000"}))
    # What `largest` does not name is not bounded by it.
    made(pools, "huge", container(limits={"nvidia.com/gpu": "9"}))


def test_containers_ask_together_and_init_containers_one_by_one(pools):
    three = [container(name, requests={"cpu": "700m"}) for name in ("base", "a", "b")]
    with pytest.raises(AirflowFailException, match=r"asks for 2.1 CPU with all its containers, and pool 'light'"):
        made(pools, "light", *three)
    made(pools, "light", *three[:2], init_containers=[container("init", requests={"cpu": "2"})])
    sidecar = container("side", requests={"cpu": "700m"}, restart_policy="Always")
    with pytest.raises(AirflowFailException, match=r"asks for 2.1 CPU with all"):
        made(pools, "light", *three[:2], init_containers=[sidecar])


def test_defaults_of_the_pool_count_too(pools):
    with pytest.raises(AirflowFailException, match=r"asks for 8.5 CPU with all its containers"):
        made(pools, "gpu", container(requests={"cpu": "7500m"}), k8s.V1Container(name="side"))


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"requests": {"memory": "2 GB"}}, "sets memory to '2 GB' in the requests of container base, which is not"),
        ({"limits": {"cpu": "-1"}}, "sets cpu to '-1' in the limits of container base, which is not an amount"),
        ({"limits": {"cpu": "1.2.3"}}, "sets cpu to '1.2.3'"),
        ({"requests": {"cpus": "2"}}, "sets 'cpus' in the requests of container base, which is no resource"),
        ({"requests": {"gpu": "1"}}, "sets 'gpu' in the requests of container base, which is no resource"),
        ({"request_memory": "1Gi"}, "has resources with the key 'request_memory' in container base"),
        ({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}, "asks for 2 CPU in container base, more than its limit"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("pool", ["light", "default_pool"])
def test_what_kubernetes_cannot_read_fails_the_task_for_good(pools, given, wrong, pool):
    with pytest.raises(AirflowFailException) as raised:
        made(pools, pool, k8s.V1Container(name="base", resources=given))
    assert str(raised.value).startswith(f"Task example.work {wrong}")


def test_a_pod_has_the_priority_class_of_its_pool(pools):
    assert made(pools, "gpu").priority_class_name == "airflow.airflow.gpu-1000"
    assert made(pools, "light").priority_class_name is None
    assert made(pools, "huge", priority_class_name="mine").priority_class_name == "mine"


def test_a_task_cannot_leave_the_quota_of_its_pool_by_a_priority_class_of_its_own(pools):
    with pytest.raises(AirflowFailException, match="has the priority class 'mine', but the quota of pool 'gpu' counts"):
        made(pools, "gpu", priority_class_name="mine")
    made(pools, "gpu", priority_class_name="airflow.airflow.gpu-1000")


DAG = """
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from kubernetes.client import models as k8s

def one(name="base", **requests):
    return k8s.V1Container(name=name, resources=k8s.V1ResourceRequirements(requests=requests))

def pod(*containers, **spec):
    return k8s.V1Pod(spec=k8s.V1PodSpec(containers=list(containers), **spec))

FILE = {file!r}
TEMPLATE = {{"spec": {{"containers": [{{"name": "base", "resources": {{"requests": {{"cpu": "9"}}}}}}]}}}}

with DAG("example", schedule=None):
    before = EmptyOperator(task_id="before")
    gpu = {{"task_id": "work", "image": "report:1.0.0", "pool": "gpu"}}
    {task}
"""


def parse(tmp_path, task):
    from airflow.dag_processing.dagbag import DagBag

    template = tmp_path / "pod.yaml"
    template.write_text("spec: {containers: [{name: base, resources: {limits: {cpu: '9'}}}]}")
    (tmp_path / "example.py").write_text(DAG.format(task=task, file=str(template)))
    return DagBag(tmp_path / "example.py")


@pytest.mark.parametrize(
    ("task", "wrong"),
    [
        ("KubernetesPodOperator(**gpu, container_resources={'requests': {'cpu': '9'}})", "asks for 9 CPU, and pool"),
        (
            "KubernetesPodOperator(**gpu, container_resources=k8s.V1ResourceRequirements(limits={'cpu': '9'}))",
            "asks for 9 CPU, and pool 'gpu' gives one task at most 8 CPU. Ask for less in container_resources, or "
            "name a pool that gives so much: huge.",
        ),
        ("KubernetesPodOperator(**gpu, full_pod_spec=pod(one(cpu='9')))", "asks for 9 CPU, and pool"),
        (
            "KubernetesPodOperator(**gpu, full_pod_spec=pod(one(cpu='5'), one('side', cpu='4')))",
            "asks for 9 CPU with all its containers, and pool",
        ),
        ("KubernetesPodOperator(**gpu, pod_template_file=FILE)", "asks for 9 CPU, and pool"),
        ("KubernetesPodOperator(**gpu, pod_template_dict=TEMPLATE)", "asks for 9 CPU, and pool"),
        (
            "KubernetesPodOperator(**gpu, pod_template_dict=TEMPLATE, full_pod_spec=pod(one('x', cpu='10')))",
            "asks for 10 CPU, and pool",
        ),
        (
            "KubernetesPodOperator(**gpu, pod_template_dict=TEMPLATE, full_pod_spec=pod(init_containers=[one('i')]))",
            "asks for 9 CPU with all its containers",
        ),
        (
            "KubernetesPodOperator(**gpu, pod_template_dict={'kind': 'Pod'}, "
            "container_resources={'limits': {'cpu': 9}})",
            "asks for 9 CPU, and pool",
        ),
        (
            "KubernetesPodOperator(**gpu, full_pod_spec=pod(one(), priority_class_name='mine'))",
            "has the priority class 'mine'",
        ),
        ("KubernetesPodOperator(**gpu, init_containers=[one('i', cpu='9')])", "asks for 9 CPU with all its containers"),
        (
            "KubernetesPodOperator(**gpu, do_xcom_push=True, container_resources={'limits': {'cpu': '8'}})",
            "asks for 8 CPU with all its containers",
        ),
        (
            "KubernetesPodOperator.partial(**gpu, container_resources={'limits': {'cpu': '9'}}).expand(cmds=[['a']])",
            "asks for 9 CPU, and pool",
        ),
        (
            "KubernetesPodOperator(**gpu, container_resources={'limits': {'memory': '{{ params.m }}', 'cpu': '9'}})",
            "asks for 9 CPU, and pool",
        ),
        ("KubernetesPodOperator(**gpu, container_resources={'limits': {'cpu': '8 CPU'}})", "sets cpu to '8 CPU'"),
        (
            "KubernetesPodOperator(**gpu | {'pool': 'default_pool'}, container_resources={'cpu': '8'})",
            "has resources",
        ),
        ("KubernetesPodOperator(**gpu, priority_class_name='mine')", "has the priority class 'mine'"),
    ],
)
def test_what_the_file_says_is_an_import_error(pools, tmp_path, task, wrong):
    (error,) = parse(tmp_path, task).import_errors.values()
    assert f"Task example.work {wrong}" in error


@pytest.mark.parametrize(
    "task",
    [
        "KubernetesPodOperator(**gpu)",
        "KubernetesPodOperator(**gpu, container_resources={'limits': {'cpu': '8'}})",
        # The operator's own wins over the template's.
        "KubernetesPodOperator(**gpu, pod_template_file=FILE, container_resources={'limits': {'cpu': '1'}})",
        # Known when it runs: templates, XComs, files that are not here.
        "KubernetesPodOperator(**gpu, container_resources={'limits': {'cpu': '{{ params.cpu }}'}})",
        "KubernetesPodOperator(**gpu, container_resources='{{ params.resources }}')",
        "KubernetesPodOperator(**gpu, container_resources=before.output)",
        "KubernetesPodOperator(**gpu, pod_template_file='/no/such/file.yaml')",
        "KubernetesPodOperator(**gpu, pod_template_file='{{ params.file }}')",
        "KubernetesPodOperator.partial(**gpu).expand(container_resources=[{'limits': {'cpu': '9'}}])",
        # Another cluster has other nodes.
        "KubernetesPodOperator(**gpu, kubernetes_conn_id='other', container_resources={'limits': {'cpu': '9'}})",
        "KubernetesPodOperator(**gpu, in_cluster=False, container_resources={'limits': {'cpu': '9'}})",
        "KubernetesPodOperator(**gpu | {'pool': 'default_pool'}, container_resources={'limits': {'cpu': '900'}})",
    ],
)
def test_what_the_file_leaves_open_is_none(pools, tmp_path, task):
    assert parse(tmp_path, task).import_errors == {}


def test_reading_a_task_changes_nothing_of_it(pools, tmp_path):
    bag = parse(tmp_path, "KubernetesPodOperator(**gpu, full_pod_spec=pod(one(cpu='5'), one('side')))")
    task = bag.dags["example"].get_task("work")
    assert task.container_resources is None
    assert [one.resources.limits for one in task.full_pod_spec.spec.containers] == [None, None]
    assert task.full_pod_spec.spec.priority_class_name is None


def test_what_only_the_run_knows_is_checked_where_the_pod_is_made(pools, tmp_path):
    bag = parse(tmp_path, "KubernetesPodOperator.partial(**gpu).expand(container_resources=[{'limits': {'cpu': '9'}}])")
    task = bag.dags["example"].get_task("work").unmap({"container_resources": {"limits": {"cpu": "9"}}})
    with pytest.raises(AirflowFailException, match="asks for 9 CPU, and pool 'gpu' gives one task at most 8 CPU"):
        task.build_pod_request_obj(dry_run=True)


def test_a_dict_in_pythons_spelling_is_still_refused(pools):
    with pytest.raises(AirflowClusterPolicyViolation, match="fs_group"):
        made(pools, "light", security_context={"fs_group": 7})
