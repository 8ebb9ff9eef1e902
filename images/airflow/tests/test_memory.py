"""How much memory a try gets by what became of the one before; the launch that gives it: test_operator.py."""

import pytest
from kubernetes.client import models as k8s

from airflow_platform import memory
from airflow_platform.config import NodePool


def pod(limit="100Mi", reason="OOMKilled", container="base", raised=False, code=137):
    end = {"terminated": {"exitCode": code, "reason": reason}}
    resources = {"limits": {"memory": limit}} if limit else {}
    return {
        "metadata": {"annotations": {memory.RAISED: "1"} if raised else {}},
        "spec": {"containers": [{"name": "base", "resources": resources}, {"name": "side"}], "restartPolicy": "Never"},
        "status": {"phase": "Failed", "containerStatuses": [{"name": container, "state": end}]},
    }


def pool(factor=2.0, **more):
    return NodePool.model_validate({"name": "light", "slots": 1, "outOfMemoryFactor": factor, **more})


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (pod(), "200Mi"),
        (pod("1Gi"), "2048Mi"),
        (pod("1500M"), "2862Mi"),
        # A child ran out of it.
        (pod(code=1), "200Mi"),
        (pod(reason="Error", code=1), None),
        (pod(reason="Error", code=1, raised=True), "100Mi"),
        (pod(container="side"), None),
        (pod(limit=None), None),
    ],
)
def test_what_the_next_try_gets(last, expected):
    found = memory.for_next([last, pod("9Gi")], "base", pool())
    assert found == (0 if expected is None else found)
    assert (memory.quantity(found) if found else None) == expected


@pytest.mark.parametrize(
    ("largest", "expected"), [("150Mi", "150Mi"), ("1Gi", "200Mi"), ("50Mi", "100Mi"), (None, "200Mi")]
)
def test_no_more_than_the_pools_largest_and_no_less_than_before(largest, expected):
    found = memory.for_next([pod()], "base", pool(largest={"memory": largest} if largest else {}))
    assert memory.quantity(found) == expected


@pytest.mark.parametrize(("pods", "of"), [([], pool()), ([pod()], None), ([pod()], pool(1))])
def test_nothing_where_there_is_no_reason(pods, of):
    assert memory.for_next(pods, "base", of) == 0


@pytest.mark.parametrize("kind", [k8s.V1ResourceRequirements, dict])
@pytest.mark.parametrize(
    ("limits", "requests", "expected"),
    [
        ({"memory": "100Mi", "cpu": "1"}, {"memory": "50Mi", "cpu": "5m"}, ({"memory": "200Mi", "cpu": "1"}, "100Mi")),
        ({"memory": "100Mi"}, None, ({"memory": "200Mi"}, None)),
        ({"memory": "200Mi"}, {"memory": "50Mi"}, ({"memory": "200Mi"}, "50Mi")),
        (None, {"memory": "50Mi"}, (None, "50Mi")),
    ],
)
def test_limit_and_request_of_the_base_container_grow_together(kind, limits, requests, expected):
    def container(name):
        return k8s.V1Container(name=name, resources=kind(limits=limits, requests=requests))

    def parts(one):
        found = one.resources if kind is dict else one.resources.to_dict()
        return found["limits"], found["requests"]

    made = k8s.V1Pod(metadata=k8s.V1ObjectMeta(), spec=k8s.V1PodSpec(containers=[container("side"), container("base")]))
    had = memory.give(made, "base", 200 * 2**20)
    side, base = made.spec.containers
    raised, asked = parts(base)
    assert (raised, (asked or {}).get("memory")) == expected
    assert parts(side) == (limits, requests)
    assert had == ("100Mi" if limits and limits["memory"] == "100Mi" else None)
    assert (memory.RAISED in (made.metadata.annotations or {})) is bool(had)


def test_a_pod_without_resources_is_left_as_it_is():
    made = k8s.V1Pod(metadata=k8s.V1ObjectMeta(), spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base")]))
    assert memory.give(made, "base", 1) is None
