"""The files in ``diagnosis/`` are cases, one file a cause, in the words of Kubernetes' and containerd's source.

Those in ``diagnosis/recorded`` are pods of a real cluster, one file a fault, as ``make why`` has recorded them.
"""

import copy
import json
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from airflow_platform.diagnosis import Crowd, Refusal, Verdict, diagnose
from airflow_platform.diagnosis.quantity import amounts, asked, parse, phrase

#: What a case's pod is made of; what the case gives goes over it, and null takes away.
POD = {
    "metadata": {
        "name": "report-1a2b3c4d",
        "namespace": "team-a",
        "uid": "7c1e0d4e-0000-4000-8000-000000000001",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": {
        "restartPolicy": "Never",
        "nodeName": "worker-1",
        "containers": [{"name": "base", "image": "registry.example/report:1.2.0"}],
    },
    "status": {
        "phase": "Pending",
        "startTime": "2026-01-01T00:00:01Z",
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"}],
    },
}
NOW = "2026-01-01T00:05:00Z"
FOLDER = Path(__file__).parent / "diagnosis"
RECORDED = FOLDER / "recorded"
#: The nodes of the cluster on which the others were recorded.
NODES = "nodes.yaml"


def seconds(timestamp):
    return datetime.fromisoformat(timestamp).timestamp()


def merged(part, over):
    if not isinstance(part, dict) or not isinstance(over, dict):
        return over
    both = {**part, **{key: merged(part.get(key), value) for key, value in over.items()}}
    return {key: value for key, value in both.items() if value is not None}


def cases():
    for file in sorted(FOLDER.glob("*.yaml")):
        for number, case in enumerate(yaml.safe_load_all(file.read_text())):
            yield pytest.param(file.stem, {**case, "pod": merged(POD, case.get("pod", {}))}, id=f"{file.stem}-{number}")
    for file in sorted(RECORDED.glob("*.yaml")):
        if file.name != NODES:
            case = yaml.safe_load(file.read_text())
            if not case["pod"]["spec"].get("nodeName"):
                case["nodes"] = yaml.safe_load((RECORDED / NODES).read_text())
            yield pytest.param(case["verdict"]["cause"], case, id=f"recorded-{file.stem}")


CASES = list(cases())


def inputs(case):
    refusal = case.get("refusal")
    return {
        "pod": copy.deepcopy(case["pod"]),
        "events": case.get("events", []),
        "nodes": case.get("nodes", []),
        "quotas": case.get("quotas", []),
        "crowd": Crowd(case["pods"]) if "pods" in case else None,
        "workload": case.get("workload"),
        "refusal": Refusal(**refusal) if refusal else None,
        "now": seconds(case.get("now", NOW)),
        "deleted": case.get("deleted", False),
    }


def diagnosed(pod=None, **more):
    return diagnose(merged(POD, pod or {}), **{"now": seconds(NOW), **more})


def status(state, name="base", **more):
    return {"name": name, "image": "i", "state": state, **more}


def ended(code, reason="Error", at="2026-01-01T00:01:00Z", **more):
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": at, **more}}


def unscheduled(message, *, spec=None, **more):
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    condition["lastTransitionTime"] = "2026-01-01T00:00:01Z"
    pod = {"spec": {"nodeName": None, **(spec or {})}, "status": {"startTime": None, "conditions": [condition]}}
    return diagnosed(pod, **more)


def wants(**requests):
    resources = {"requests": {name.replace("_", "-"): amount for name, amount in requests.items()}}
    return {"containers": [{"name": "base", "image": "i", "resources": resources}]}


def node(name="n", labels=None, taints=(), requested=None, **allocatable):
    made = {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": allocatable},
    }
    return made if requested is None else {**made, "requested": requested}


@pytest.mark.parametrize(("cause", "case"), CASES)
def test_each_cause_is_told(cause, case):
    verdict = diagnose(**inputs(case))
    assert verdict is not None
    assert verdict.cause == cause, verdict
    assert verdict.sentence == case["sentence"]
    for field, expected in case["verdict"].items():
        if field == "since" and expected is not None:
            expected = seconds(expected)
        assert getattr(verdict, field) == expected, (field, verdict)


@pytest.mark.parametrize(("cause", "case"), CASES)
def test_each_verdict_is_json_and_one_plain_line(cause, case):
    verdict = diagnose(**inputs(case))
    assert Verdict(**json.loads(json.dumps(verdict.as_dict()))) == verdict
    assert verdict.kind in ("user", "capacity", "transient", "infrastructure", "platform")
    assert verdict.object in verdict.sentence
    assert verdict.sentence.endswith(".")
    assert not verdict.sentence.endswith("..")
    assert "\n" not in verdict.sentence
    assert "  " not in verdict.sentence
    assert "None" not in verdict.sentence
    assert "rpc error" not in verdict.sentence


@pytest.mark.parametrize(("cause", "case"), CASES)
def test_what_is_not_certain_is_never_final_while_the_pod_may_run(cause, case):
    verdict = diagnose(**inputs(case))
    over = case.get("deleted") or case.get("pod", {}).get("status", {}).get("phase") == "Failed"
    assert verdict.certain or not verdict.final or over


@pytest.mark.parametrize(("cause", "case"), CASES)
def test_the_inputs_are_left_as_they_were_and_the_same_gives_the_same(cause, case):
    given = inputs(case)
    crowd = given.pop("crowd")
    before = copy.deepcopy(given)
    assert diagnose(**given, crowd=crowd) == diagnose(**given, crowd=crowd)
    assert given == before


@pytest.mark.parametrize(("cause", "case"), CASES)
def test_a_pod_without_volumes_environment_tolerations_and_affinity_is_enough(cause, case):
    given = inputs(case)
    spec = given["pod"]["spec"]
    kept = (
        "nodeName", "nodeSelector", "restartPolicy", "schedulingGates", "activeDeadlineSeconds", "initContainers",
        "containers",
    )  # fmt: skip
    given["pod"]["spec"] = {key: spec[key] for key in kept if key in spec}
    for container in given["pod"]["spec"]["containers"]:
        container.pop("env", None)
    verdict = diagnose(**given)
    assert verdict is not None
    # The watch keeps no tolerations: what is said then is less, and not wrong.
    assert verdict.cause == cause or "tolerations" in spec


@pytest.mark.parametrize(("cause", "case"), CASES)
def test_whatever_is_missing_is_no_error(cause, case):
    given = inputs(case)
    parts = [*given["pod"].values(), *given["events"]]
    parts += [part for one in given["nodes"] for part in (one, one["status"])]
    for part in parts:
        for key in list(part):
            taken = part.pop(key)
            verdict = diagnose(**given)
            part[key] = taken
            assert verdict is None or (verdict.sentence.endswith(".") and "None" not in verdict.sentence)
    assert diagnose(**given).cause == cause


def test_nothing_is_wrong():
    running = {"running": {"startedAt": "2026-01-01T00:00:05Z"}}
    assert diagnose(None, now=0) is None
    assert diagnosed(now=seconds("2026-01-01T00:00:02Z")) is None
    assert diagnosed({"status": {"containerStatuses": [status({"waiting": {"reason": "ContainerCreating"}})]}}) is None
    assert diagnosed({"status": {"phase": "Running", "containerStatuses": [status(running)]}}) is None
    assert diagnosed({"status": {"phase": "Succeeded", "containerStatuses": [status(ended(0, "Completed"))]}}) is None
    # A pod that was just made, and one that has no status at all.
    new = {"spec": {"nodeName": None}, "status": {"startTime": None, "conditions": []}}
    assert diagnosed(new, now=seconds("2026-01-01T00:00:03Z")) is None
    assert diagnose({"metadata": {}, "spec": {}}, now=0) is None


@pytest.mark.parametrize("other", ["airflow-xcom-sidecar", "native"])
def test_a_sidecar_that_ends_by_itself_holds_nothing(other):
    spec = {"initContainers": [{"name": "native", "image": "i", "restartPolicy": "Always"}]}
    statuses = [status(ended(0, "Completed")), status({"running": {}}, other)]
    assert diagnosed({"spec": spec, "status": {"phase": "Running", "containerStatuses": statuses}}) is None


def test_a_sidecar_that_is_killed_at_the_end_is_not_to_blame():
    spec = {"initContainers": [{"name": "native", "image": "i", "restartPolicy": "Always"}]}
    statuses = {
        "initContainerStatuses": [status(ended(137), "native")],
        "containerStatuses": [status(ended(3))],
    }
    verdict = diagnosed({"spec": spec, "status": {"phase": "Failed", **statuses}})
    assert (verdict.container, verdict.exit_code) == ("base", 3)


def test_a_fault_of_another_container_is_not_final_while_the_base_container_runs():
    # Kubelet calls the pod Pending as long as one container has not started.
    statuses = [
        status({"running": {"startedAt": "2026-01-01T00:00:05Z"}}, containerID="containerd://1"),
        status({"waiting": {"reason": "InvalidImageName", "message": "m"}}, "proxy"),
    ]
    verdict = diagnosed({"status": {"containerStatuses": statuses}})
    assert (verdict.cause, verdict.container, verdict.final) == ("image-name-invalid", "proxy", False)
    statuses[0]["state"] = ended(0, "Completed")
    assert diagnosed({"status": {"containerStatuses": statuses}}).cause == "container-holds-pod"


def test_an_image_is_not_missing_for_longer_than_its_container_could_start():
    missing = {"waiting": {"reason": "ErrImagePull", "message": 'failed to resolve reference "i": i: not found'}}
    spec = {"initContainers": [{"name": "first", "image": "i"}, {"name": "second", "image": "i"}]}
    first = status(ended(0, "Completed", at="2026-01-01T00:04:50Z"), "first", containerID="containerd://1")
    pod = {"spec": spec, "status": {"initContainerStatuses": [first, status(missing, "second")]}}
    verdict = diagnosed(pod)
    assert (verdict.container, verdict.final, verdict.since) == ("second", False, seconds("2026-01-01T00:04:50Z"))


def test_a_taint_by_which_somebody_empties_a_node_that_is_well_is_no_lost_node():
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
    condition["lastTransitionTime"] = "2026-01-01T00:04:50Z"
    pod = {"metadata": {"deletionTimestamp": NOW}, "status": {"phase": "Running", "conditions": [condition]}}
    well = {"metadata": {"name": "worker-1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert diagnosed(pod, nodes=[well]).cause == "drained"
    assert diagnosed(pod).cause == "node-lost"


def test_a_label_that_no_node_has_is_final_only_where_no_node_is_on_its_way():
    message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    spec = {"nodeSelector": {"gpu": "a100"}, "tolerations": []}
    event = {"reason": "FailedScheduling", "message": message, "eventTime": "2026-01-01T00:00:01.5Z"}
    assert not unscheduled(message, spec=spec).final
    assert unscheduled(message, spec=spec, events=[event]).final
    # Until now another reason kept it waiting: the node may have gone only a moment ago.
    assert not unscheduled(message, spec=spec, events=[{**event, "message": FULL}]).final
    comes = {"reason": "TriggeredScaleUp", "message": "", "lastTimestamp": "2026-01-01T00:04:00Z"}
    assert unscheduled(message, spec=spec, events=[event, comes]).cause == "node-comes"
    # Of the values that nodes have, nothing is said where the nodes are not known.
    assert "(" not in unscheduled(message, spec=spec).sentence


def test_labels_that_no_node_has_together_and_an_affinity_that_is_not_known():
    message = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
    nodes = [node("one", {"gpu": "t4"}), node("two", {"disk": "ssd"})]
    both = unscheduled(message, spec={"nodeSelector": {"gpu": "t4", "disk": "ssd"}}, nodes=nodes)
    assert "(no node has all of these)" in both.sentence
    # The selector is met, so it is the affinity, of which the pod's spec here says nothing.
    assert unscheduled(message, spec={"nodeSelector": {"gpu": "t4"}}, nodes=nodes).object_kind == "pod"


def test_a_node_that_kubernetes_has_closed_is_waited_for_beside_one_that_is_reserved():
    ill = node("ill", taints=[{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    reserved = node("reserved", taints=[{"key": "team", "effect": "NoSchedule"}])
    message = "0/2 nodes are available: 2 node(s) had untolerated taint(s)."
    verdict = unscheduled(message, spec={"tolerations": []}, nodes=[ill, reserved])
    assert verdict.cause == "nodes-not-ready"
    assert "team" not in verdict.sentence


RESOLVE = 'failed to pull and unpack image "r.example/i:1": failed to resolve reference "r.example/i:1": '


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (f"{RESOLVE}r.example/i:1: not found", "image-not-found"),
        (f"{RESOLVE}no resolve hosts: not found", "image-pull-failed"),
        (
            f"{RESOLVE}failed to authorize: failed to fetch oauth token: unexpected status from POST request to "
            "https://auth.example/token: 404 Not Found",
            "image-pull-failed",
        ),
        (
            'failed to pull and unpack image "r.example/i:1": failed to prepare extraction snapshot "extract-1": '
            "parent snapshot sha256:5: not found",
            "image-pull-failed",
        ),
        (
            f"{RESOLVE}unexpected status from HEAD request to https://r.example/v2/404/manifests/401: "
            "500 Internal Server Error",
            "registry-fails",
        ),
        (f'{RESOLVE}failed to do request: Head "https://r.example/v2/": EOF', "registry-unreachable"),
        (
            f"{RESOLVE}unexpected status from HEAD request to https://r.example/v2/i/manifests/1: 401 Unauthorized",
            "image-denied",
        ),
    ],
)
def test_what_keeps_an_image_away_is_not_taken_for_something_else(text, cause):
    statuses = [status({"waiting": {"reason": "ErrImagePull", "message": text}})]
    verdict = diagnosed({"status": {"containerStatuses": statuses}})
    assert verdict.cause == cause
    assert verdict.final == (cause in ("image-not-found", "image-denied"))
    assert verdict.certain == (cause != "image-pull-failed")


LIMITED = f"{RESOLVE}unexpected status from HEAD request to https://r.example/v2/i: 429 Too Many Requests"


def pulls(*failed, now="2026-01-01T00:02:00Z"):
    """The verdict on a pod whose pulls failed: by event (count, seconds of the first, of the last) after midnight."""

    def at(second):
        return f"2026-01-01T00:{second // 60:02}:{second % 60:02}Z"

    message = f'Failed to pull image "i": {LIMITED}'
    events = [
        {"reason": "Failed", "message": message, "count": count, "firstTimestamp": at(first), "lastTimestamp": at(last)}
        for count, first, last in failed
    ]
    spec = {"containers": [{"name": "base", "image": "i"}]}
    statuses = [status({"waiting": {"reason": "ImagePullBackOff", "message": LIMITED}})]
    pod = {"spec": spec, "status": {"containerStatuses": statuses}}
    return diagnosed(pod, events=events, now=seconds(now)).sentence


@pytest.mark.parametrize(
    ("failed", "when"),
    [
        # 10, 20, 40, 80 s after each, and a moment until kubelet looks.
        ([(1, 117, 117)], "in about 10 s."),
        ([(2, 105, 118)], "in about 20 s."),
        ([(4, 1, 92)], "in about 50 s."),
        # Each of another text: an event of its own.
        ([(1, 1, 1), (1, 16, 16), (1, 44, 44), (1, 92, 92)], "in about 50 s."),
        # It is about to.
        ([(4, 1, 40)], "tries again."),
        ([(3, 20, 75)], "in about 10 s."),
        # It should have long ago; an event is missing, so the pause is longer than it seems.
        ([(1, 1, 1)], "tries again."),
        ([(2, 1, 92)], "tries again."),
        ([], "tries again."),
    ],
)
def test_when_an_image_is_pulled_next_is_said_where_the_events_tell(failed, when):
    assert pulls(*failed).endswith(when)


def test_a_pull_is_not_left_alone_for_longer_than_kubelet_does():
    times = [0, 10, 30, 70, 150, 310, 610]
    assert pulls(*((1, at, at) for at in times), now="2026-01-01T00:10:20Z").endswith("in about 290 s.")


def test_a_volume_that_is_mounted_at_last_is_no_trouble():
    waiting = {"status": {"containerStatuses": [status({"waiting": {"reason": "ContainerCreating"}})]}}
    events = [
        {
            "reason": "FailedMount",
            "message": 'for volume "v" : secret "s" not found',
            "lastTimestamp": "2026-01-01T00:04:00Z",
        },
        {"reason": "Pulling", "message": 'Pulling image "i"', "lastTimestamp": "2026-01-01T00:04:50Z"},
    ]
    assert diagnosed(waiting, events=events) is None
    assert diagnosed(waiting, events=events[:1]).cause == "secret-missing"


def test_an_event_of_an_earlier_pod_of_that_name_is_no_evidence():
    event = {
        "reason": "FailedMount",
        "message": 'MountVolume.SetUp failed for volume "v" : secret "s" not found',
        "involvedObject": {"uid": "another"},
        "lastTimestamp": "2026-01-01T00:04:00Z",
    }
    assert diagnosed(events=[event]) is None


def test_a_failure_that_came_before_the_deletion_is_the_containers_own():
    deleted = {"deletionTimestamp": "2026-01-01T00:03:30Z", "deletionGracePeriodSeconds": 30}
    failed = {"phase": "Failed", "containerStatuses": [status(ended(1), containerID="containerd://1")]}
    assert diagnosed({"metadata": deleted, "status": failed}).cause == "exit-code"
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    condition["lastTransitionTime"] = "2026-01-01T00:03:00Z"
    failed["conditions"] = [condition]
    assert diagnosed({"metadata": deleted, "status": failed}).cause == "exit-code"
    condition["lastTransitionTime"] = "2026-01-01T00:00:50Z"
    assert diagnosed({"metadata": deleted, "status": failed}).cause == "drained"
    # One that had done well has done well.
    done = {"phase": "Running", "containerStatuses": [status(ended(0, "Completed"))]}
    assert diagnosed({"metadata": deleted, "status": done}, deleted=True) is None


def test_an_init_container_that_failed_before_the_deletion_is_to_blame():
    deleted = {"deletionTimestamp": "2026-01-01T00:03:30Z", "deletionGracePeriodSeconds": 30}
    statuses = {
        "phase": "Failed",
        "initContainerStatuses": [status(ended(4), "first", containerID="containerd://1")],
        "containerStatuses": [status({"waiting": {"reason": "PodInitializing"}})],
    }
    spec = {"initContainers": [{"name": "first", "image": "i"}]}
    verdict = diagnosed({"metadata": deleted, "spec": spec, "status": statuses})
    assert (verdict.cause, verdict.container) == ("exit-code", "first")
    statuses["initContainerStatuses"][0]["state"] = ended(143, at="2026-01-01T00:03:01Z")
    assert diagnosed({"metadata": deleted, "spec": spec, "status": statuses}).cause == "deleted"


def test_a_disruption_that_does_not_come_to_pass_is_forgotten():
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    running = {"phase": "Running", "containerStatuses": [status({"running": {}}, containerID="containerd://1")]}
    running["conditions"] = [{**condition, "lastTransitionTime": "2026-01-01T00:04:30Z"}]
    assert diagnosed({"status": running}).cause == "preempted"
    running["conditions"] = [{**condition, "lastTransitionTime": "2026-01-01T00:01:00Z"}]
    assert diagnosed({"status": running}) is None


def test_of_a_pod_that_nobody_has_seen_it_is_said_that_it_is_gone():
    verdict = diagnose(None, now=0, deleted=True)
    assert (verdict.cause, verdict.final, verdict.certain) == ("deleted", True, False)


@pytest.mark.parametrize("code", range(1, 256))
def test_every_exit_code_has_a_true_line(code):
    verdict = diagnosed({"status": {"phase": "Failed", "containerStatuses": [status(ended(code))]}})
    assert verdict.exit_code == code
    assert f"exit code {code}" in verdict.sentence
    assert verdict.certain == (verdict.cause == "exit-code")


def test_the_container_to_blame_is_the_base_container_by_any_name():
    statuses = {
        "phase": "Failed",
        "containerStatuses": [status(ended(2), "one"), status(ended(3), "main")],
    }
    spec = {"containers": [{"name": "one"}, {"name": "main"}]}
    assert diagnosed({"spec": spec, "status": statuses}, base="main").exit_code == 3
    assert diagnosed({"spec": spec, "status": statuses}, base="one").exit_code == 2


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [("500m", "0.5"), ("1", 1), (2, 2), ("1.5Gi", 1610612736), ("1e3", 1000), ("2E", 2 * 10**18), ("100n", "1e-7")],
)
def test_quantities(quantity, amount):
    assert parse(quantity) == parse(amount)


@pytest.mark.parametrize("wrong", ["", "one", "1Zi", "Gi"])
def test_what_is_no_quantity_is_an_error(wrong):
    with pytest.raises(ValueError, match="is not a quantity"):
        parse(wrong)


@pytest.mark.parametrize(
    ("resource", "quantity", "words"),
    [
        ("cpu", "3920m", "3.92 CPU"),
        ("cpu", "10", "10 CPU"),
        ("memory", "1536Mi", "1.5Gi of memory"),
        ("memory", "0", "0 of memory"),
        ("requests.memory", "64Gi", "64Gi of memory"),
        ("nvidia.com/gpu", "4", "4 nvidia.com/gpu"),
        ("limits.cpu", "2", "limits of 2 CPU"),
    ],
)
def test_amounts_in_words(resource, quantity, words):
    assert phrase(resource, parse(quantity)) == words


def test_what_a_pod_asks_for():
    def container(cpu, **more):
        return {"name": "c", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": "9"}}, **more}

    spec = {
        "initContainers": [
            container("3"),
            container("1", restartPolicy="Always"),
            container("2500m"),
        ],
        "containers": [container("1"), container("500m")],
        "overhead": {"cpu": "250m"},
    }
    # The last init container runs beside the sidecar: 3.5, more than the 2.5 of what runs after it.
    assert asked({"spec": spec}) == amounts({"cpu": "3750m"})
    assert asked({"spec": spec}, "limits") == amounts({"cpu": "27"})
    assert asked({"spec": {**spec, "resources": {"requests": {"cpu": "8"}}}}) == amounts({"cpu": "8250m"})
    assert asked({"spec": {"containers": [{"name": "c"}]}}) == {}


FULL = "0/2 nodes are available: 2 Insufficient cpu."


def test_a_pod_that_fits_an_empty_node_waits_however_full_they_are():
    nodes = [node(cpu="4", memory="8Gi", requested={"cpu": "5"}), node(cpu="2", memory="8Gi", requested={})]
    verdict = unscheduled(FULL, spec=wants(cpu="4"), nodes=nodes)
    assert (verdict.cause, verdict.final) == ("no-room", False)
    # What is free is never less than nothing.
    assert "(free 2 of 6 CPU on 2 nodes, at most 2 on one)" in verdict.sentence


def test_a_pod_without_a_pool_stands_in_line_with_those_of_its_labels():
    def waits(name, **labels):
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        metadata = {"name": name, "creationTimestamp": "2025-12-31T00:00:00Z"}
        return {"metadata": metadata, "spec": {"nodeSelector": labels}, "status": {"conditions": [condition]}}

    crowd = Crowd([waits("one", disk="ssd"), waits("another", disk="ssd"), waits("elsewhere")])
    spec = {**wants(cpu="1"), "nodeSelector": {"disk": "ssd"}}
    assert "(2 tasks ahead)" in unscheduled(FULL, spec=spec, crowd=crowd).sentence
    assert "(1 task ahead)" in unscheduled(FULL, spec=wants(cpu="1"), crowd=crowd).sentence


def test_a_pod_in_another_cluster_has_no_node_pool():
    metadata = {"annotations": {"airflow-platform/pool": "gpu"}, "labels": {"airflow_kpo_in_cluster": "False"}}
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": FULL}
    pod = {"metadata": metadata, "spec": {"nodeName": None}, "status": {"startTime": None, "conditions": [condition]}}
    assert "waits for cpu on a node;" in diagnosed(pod).sentence


def test_to_count_many_pods_that_wait_takes_no_longer_for_each_of_them():
    """1,000 in a line: each asks for its place, and none looks at the others."""

    def waits(number):
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        metadata = {"name": f"p{number}", "creationTimestamp": f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"}
        return {"metadata": metadata, "spec": {}, "status": {"conditions": [condition]}}

    pods = [waits(number) for number in range(1000)]
    crowd = Crowd(reversed(pods))
    assert [crowd.ahead(pod) for pod in pods] == list(range(1000))


def test_a_pod_is_too_big_only_for_all_nodes_of_the_cluster():
    small = node(cpu="2", memory="8Gi")
    assert unscheduled(FULL, spec=wants(cpu="4"), nodes=[small, small]).final
    # The scheduler counts two: the other may be larger.
    assert not unscheduled(FULL, spec=wants(cpu="4"), nodes=[small]).final
    # Nothing is known of the other's size.
    assert not unscheduled(FULL, spec=wants(cpu="4"), nodes=[small, node()]).final
    # A larger one is closed, and may be opened.
    closed = node(cpu="8", taints=[{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}])
    spec = {**wants(cpu="4"), "tolerations": []}
    assert not unscheduled(FULL, spec=spec, nodes=[small, closed]).final
    # An autoscaler is about to add one.
    event = {"reason": "TriggeredScaleUp", "message": "", "lastTimestamp": "2026-01-01T00:04:00Z"}
    assert not unscheduled(FULL, spec=wants(cpu="4"), nodes=[small, small], events=[event]).final


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ({"key": "gpu", "operator": "In", "values": ["a100", "t4"]}, True),
        ({"key": "gpu", "operator": "In", "values": ["a100"]}, False),
        ({"key": "gpu", "operator": "NotIn", "values": ["t4"]}, False),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"key": "gpu", "operator": "DoesNotExist"}, False),
        ({"key": "cores", "operator": "Gt", "values": ["7"]}, True),
        ({"key": "cores", "operator": "Lt", "values": ["8"]}, False),
        ({"key": "gpu", "operator": "Newer"}, True),
    ],
)
def test_node_affinity_is_read_as_the_scheduler_does(expression, found):
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [expression]}]
            }
        }
    }
    verdict = unscheduled(
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector.",
        spec={**wants(cpu="1"), "affinity": affinity},
        nodes=[node(labels={"gpu": "t4", "cores": "8"}, cpu="4"), node("other", cpu="4")],
    )
    labelled = verdict.cause == "no-room"
    assert labelled is found or expression["operator"] in ("DoesNotExist", "NotIn", "Lt")


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "team", "value": "b"}, True),
        ({"key": "team", "operator": "Equal", "value": "c"}, False),
        ({"key": "team", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "team", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_taints_are_tolerated_as_the_scheduler_does(toleration, tolerated):
    verdict = unscheduled(
        "0/1 nodes are available: 1 Insufficient cpu.",
        spec={**wants(cpu="1"), "tolerations": [toleration]},
        nodes=[node(taints=[{"key": "team", "value": "b", "effect": "NoSchedule"}], cpu="4")],
    )
    assert verdict.cause == ("no-room" if tolerated else "taint-not-tolerated")


def test_a_text_of_kubernetes_is_cut_and_kept_on_one_line():
    verdict = diagnosed(refusal=Refusal(403, "Forbidden", "no\nway. " + "x" * 5000))
    assert "no way. x" in verdict.sentence
    assert len(verdict.sentence) < 500


def test_a_pod_whose_gate_was_lifted_is_held_back_no_more():
    condition = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    status = {"startTime": None, "conditions": [condition]}
    gated = {"spec": {"nodeName": None, "schedulingGates": [{"name": "example.com/gate"}]}, "status": status}
    assert diagnosed(gated).cause == "held-back"
    # It may be lifted at once.
    assert diagnosed(gated, now=seconds("2026-01-01T00:00:05Z")) is None
    assert diagnosed({"spec": {"nodeName": None}, "status": status}) is None
