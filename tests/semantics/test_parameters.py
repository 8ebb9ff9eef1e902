"""What the operator takes is what the pod has."""

import json
import re

import pytest

pytestmark = pytest.mark.needs("priorities", "settings_of_a_pod")


@pytest.fixture
def everything(run):
    run.ended_task("everything")
    (pod,) = run.pods("everything")
    return pod


@pytest.mark.runs("semantics_parameters")
def test_each_setting_reaches_the_pod(run, everything):
    assert run.instance("everything")["state"] == "success"
    metadata, spec = everything.manifest["metadata"], everything.manifest["spec"]
    (base,) = spec["containers"]
    assert re.fullmatch(r"named-semantics-parameters-[a-z0-9]+", metadata["name"])
    assert metadata["labels"].items() >= {"color": "blue", "run": run.run_id, "kubernetes_pod_operator": "True"}.items()
    assert {"dag_id", "task_id", "run_id", "try_number", "airflow_version", "airflow_kpo_in_cluster"} <= set(
        metadata["labels"]
    )
    assert metadata["annotations"]["semantics/run"] == run.run_id
    assert spec["nodeSelector"].items() >= {"kubernetes.io/os": "linux", "node-pool": "light"}.items()
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["light"]
    assert {"key": "semantics", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    assert spec["securityContext"].items() >= {"runAsUser": 1000, "fsGroup": 2000, "runAsNonRoot": True}.items()
    assert base["securityContext"].items() >= {"allowPrivilegeEscalation": False, "runAsGroup": 3000}.items()
    assert base["ports"] == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]
    assert base["imagePullPolicy"] == "Always"
    assert base["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert base["resources"]["limits"] == {"memory": "64Mi"}
    wanted = {
        "serviceAccountName": "default",
        "imagePullSecrets": [{"name": "registry"}],
        "hostname": "host",
        "subdomain": "sub",
        "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["alias.local"]}],
        "dnsPolicy": "Default",
        "dnsConfig": {"searches": ["semantics.local"]},
        "schedulerName": "default-scheduler",
        "priorityClassName": "semantics",
        "terminationGracePeriodSeconds": 7,
        "activeDeadlineSeconds": 300,
    }
    assert {key: spec.get(key) for key in wanted} == wanted


@pytest.mark.runs("semantics_parameters")
def test_each_setting_reaches_the_program(run, everything):
    printed = [line.removeprefix("[base] ") for line in run.log("everything") if line.startswith("[base]")]
    assert printed[:2] == ["1000", "3000 2000"]
    assert {
        "of the ConfigMap",
        "of-the-secret",
        "RENDERED=everything",
        "file=of the ConfigMap",
        "FROM_file=of the ConfigMap",
        f"NODE={everything.manifest['spec']['nodeName']}",
    } <= set(printed)
    # A secret that the environment holds may be masked, but it is there.
    assert any(line.startswith("WORD=") for line in printed)


@pytest.mark.runs("semantics_parameters")
def test_a_task_without_xcom_has_one_container(everything):
    assert [one["name"] for one in everything.manifest["spec"]["containers"]] == ["base"]


@pytest.mark.runs("semantics_parameters")
def test_a_name_can_be_fixed(run):
    assert run.ended_task("name_as_given")["state"] == "success"
    assert [pod.name for pod in run.pods("name_as_given")] == ["semantics-as-given"]


@pytest.mark.runs("semantics_parameters")
@pytest.mark.parametrize(
    ("task_id", "labels"),
    [
        ("template_dict", {"color": "yellow", "shape": "round"}),
        ("template_file", {"color": "green", "shape": "round"}),
        ("full_pod_spec", {"color": "white"}),
    ],
)
def test_a_pod_is_made_from_a_template_and_the_task_wins(run, task_id, labels):
    assert run.ended_task(task_id)["state"] == "success"
    (pod,) = run.pods(task_id)
    assert pod.labels.items() >= labels.items()
    (base,) = pod.manifest["spec"]["containers"]
    assert base["image"].startswith("localhost:5001/ticket-extract:")
    if task_id.startswith("template"):
        assert {"name": "FROM_TEMPLATE", "value": "yes"} in base["env"]


@pytest.mark.runs("semantics_parameters")
def test_another_container_can_be_the_task(run):
    assert run.ended_task("base_container_name")["state"] == "success"
    assert "[work] from another container" in run.log("base_container_name")
    for logs in (True, False):
        task_id = f"base_container_name_fails_{'with' if logs else 'without'}_logs"
        assert run.ended_task(task_id)["state"] == "failed"
        lines = run.log(task_id)
        assert ("[work] from another container" in lines) == logs
        assert any("ended with exit code 3" in line for line in lines)


@pytest.mark.runs("semantics_parameters")
def test_a_sidecar_that_stays_holds_the_task_and_the_log_says_so(run):
    assert run.ended_task("sidecar_that_stays", seconds=300)["state"] == "success"
    assert any("container stays is not and keeps the pod from ending" in line for line in run.log("sidecar_that_stays"))


@pytest.mark.runs("semantics_refused")
@pytest.mark.parametrize(
    ("task_id", "why", "pods"),
    [
        ("host_network", "violates PodSecurity", 0),
        ("no_such_service_account", "nobody", 0),
        ("no_such_image", "no-such-image", 1),
        ("bad_image_name", "InvalidImageName|Not A Name", 1),
        ("no_such_command", "no-such-command", 1),
        ("deadline", "DeadlineExceeded|deadline", 1),
    ],
)
def test_what_cannot_run_fails_and_says_why(run, task_id, why, pods):
    assert run.ended_task(task_id, seconds=300)["state"] == "failed"
    assert any(re.search(why, line) for line in run.log(task_id))
    assert len(run.pods(task_id)) == pods


@pytest.mark.runs("semantics_xcom")
@pytest.mark.needs("sidecars")
def test_the_xcom_of_a_pod(run, airflow):
    assert run.ended_task("pushes")["state"] == "success"

    def value(key):
        return airflow.call("GET", f"{run.path}/taskInstances/pushes/xcomEntries/{key}?deserialize=true")["value"]

    assert value("return_value") == {"answer": 42, "text": 'ü "quoted"'}
    assert (value("answer"), value("text")) == (42, 'ü "quoted"')
    (pod,) = run.pods("pushes")
    assert (value("pod_name"), value("pod_namespace")) == (pod.name, "support")
    assert run.ended_task("pulls")["state"] == "success"
    assert "[base] the answer is 42" in run.log("pulls")


@pytest.mark.runs("semantics_xcom")
@pytest.mark.needs("sidecars")
def test_a_task_is_mapped_over_the_xcom_of_a_pod(run):
    run.ended()
    assert {one["state"] for one in run.instances() if one["task_id"] == "mapped_over_it"} == {"success"}
    given = sorted(pod.manifest["spec"]["containers"][0]["args"] for pod in run.pods("mapped_over_it"))
    assert given == [["one"], ["three"], ["two"]]


@pytest.mark.runs("semantics_xcom")
@pytest.mark.needs("sidecars")
def test_an_xcom_that_is_not_json_fails_the_task(run):
    assert run.ended_task("not_json")["state"] == "failed"


@pytest.mark.runs("semantics_xcom")
@pytest.mark.needs("sidecars")
def test_a_task_that_fails_pushes_its_xcom_too(run, airflow):
    assert run.ended_task("fails")["state"] == "failed"
    found = airflow.call("GET", f"{run.path}/taskInstances/fails/xcomEntries/return_value?deserialize=true")["value"]
    assert (json.loads(found) if isinstance(found, str) else found) == {"why": 1}


@pytest.mark.runs("semantics_ways")
@pytest.mark.needs("workers")
@pytest.mark.parametrize(
    "task_id",
    [
        pytest.param(name, marks=pytest.mark.beyond_stock("a worker pod besides"))
        for name in ("plain", "deferrable", "decorated", "command")
    ],
)
def test_56895_a_task_is_one_pod(run, workers, task_id):
    assert run.ended_task(task_id)["state"] == "success"
    assert len(run.pods(task_id)) == 1
    assert workers.pods(run_id=run.run_id, task_id=task_id) == []


@pytest.mark.runs("semantics_ways")
@pytest.mark.needs("workers")
@pytest.mark.parametrize("task_id", ["worker_by_executor", "worker_by_config"])
def test_a_task_can_keep_the_stock_way(run, workers, task_id):
    assert run.ended_task(task_id)["state"] == "success"
    assert len(run.pods(task_id)) == 1
    assert len(workers.pods(run_id=run.run_id, task_id=task_id)) == 1


@pytest.mark.runs("semantics_ways")
@pytest.mark.needs("workers")
def test_a_python_task_has_a_worker_pod(run, workers):
    assert run.ended_task("python")["state"] == "success"
    assert run.pods("python") == []
    assert len(workers.pods(run_id=run.run_id, task_id="python")) == 1


@pytest.mark.runs("semantics_ways")
@pytest.mark.parametrize(("task_id", "line"), [("decorated", "[base] decorated well"), ("command", "[base] a command")])
def test_a_decorated_function_runs_in_its_pod(run, task_id, line):
    assert run.ended_task(task_id)["state"] == "success"
    assert line in run.log(task_id)


@pytest.mark.runs("semantics_ways")
def test_callbacks_of_the_operator_are_called_in_order(run):
    assert run.ended_task("callbacks")["state"] == "success"
    said = [match[1] for line in run.log("callbacks") if (match := re.match(r"callback: (\w+)", line))]
    assert list(dict.fromkeys(said)) == ["creation", "starting", "progress", "completion", "cleanup"]


@pytest.mark.runs("semantics_ways")
def test_a_subclass_of_the_operator_keeps_what_it_changes(run):
    assert run.ended_task("subclass")["state"] == "success"
    (pod,) = run.pods("subclass")
    assert pod.labels["color"] == "red"
