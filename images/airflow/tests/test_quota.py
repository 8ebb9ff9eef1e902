"""What is said of a ResourceQuota that a task waits for."""

import pytest

from airflow_platform.diagnosis.quantity import amounts
from airflow_platform.diagnosis.quota import Quota

BEGINS = "Quota q of namespace team is full"
WAITS = "the task waits until pods that it counts have ended"


def quota(hard, used, **spec):
    return {"metadata": {"name": "q", "namespace": "team"}, "spec": spec, "status": {"hard": hard, "used": used}}


def of_class(*names, operator="In"):
    expression = {"scopeName": "PriorityClass", "operator": operator, "values": list(names)}
    return {"scopeSelector": {"matchExpressions": [expression]}}


def pods(**of_dags):
    return [pod(dag, **more) for dag, (count, more) in of_dags.items() for _ in range(count)]


def pod(dag, phase="Running", priority_class="gpu", **requests):
    containers = [{"name": "base", "resources": {"requests": requests}}]
    spec = {"containers": containers, "priorityClassName": priority_class}
    return {"metadata": {"name": "p", "labels": {"dag_id": dag}}, "spec": spec, "status": {"phase": phase}}


def said(found, here, requested, readable=None, **more):
    return Quota.of(found, here, readable).waited_for(amounts(requested), **more)


def test_who_uses_it_and_who_waits_before():
    here = [*pods(etl=(5, {}), train=(3, {})), pod("over", "Succeeded"), pod("other", priority_class="light")]
    sentence = said(quota({"pods": "8"}, {"pods": "8"}, **of_class("gpu")), here, {"pods": "1"}, before=3)
    assert sentence == (
        f"{BEGINS} (8 of 8 pods used by etl (5) and train (3), 1 asked for); {WAITS}, and 3 tasks wait before it."
    )


def test_without_a_scope_it_counts_all_pods():
    here = [pod("a"), pod("b", priority_class="light")]
    assert "by a (1) and b (1)," in said(quota({"pods": "2"}, {"pods": "2"}), here, {"pods": "1"})


@pytest.mark.parametrize("spec", [of_class("gpu", operator="NotIn"), {"scopes": ["BestEffort"]}])
def test_whose_pods_it_counts_by_another_scope_is_not_told(spec):
    sentence = said(quota({"pods": "1"}, {"pods": "1"}, **spec), [pod("a")], {"pods": "1"})
    assert sentence == f"{BEGINS} (1 of 1 pods used, 1 asked for); {WAITS}."


def test_amounts_are_of_what_has_run_out():
    here = pods(etl=(2, {"memory": "3Gi"}), train=(1, {"memory": "2Gi"}))
    found = quota({"pods": "9", "requests.memory": "8Gi"}, {"pods": "3", "requests.memory": "8Gi"})
    assert said(found, here, {"requests.memory": "512Mi"}) == (
        f"{BEGINS} (8Gi of 8Gi of memory used by etl (6Gi) and train (2Gi), 512Mi asked for); {WAITS}."
    )


def test_three_are_named_those_with_most_first_and_none_that_may_not_be():
    here = pods(a=(1, {}), b=(4, {}), c=(2, {}), d=(3, {}), e=(1, {}))
    found = quota({"pods": "11"}, {"pods": "11"})
    assert "used by b (4), d (3), c (2) and other DAGs (2)," in said(found, here, {"pods": "1"})
    assert "used by a (1) and other DAGs (10)," in said(found, here, {"pods": "1"}, readable={"a"})


def test_pods_of_no_task_may_use_it_up():
    assert "(1 of 1 pods used by pods of no task, 1 asked for)" in said(
        quota({"pods": "1"}, {"pods": "1"}), [], {"pods": "1"}
    )


@pytest.mark.parametrize(
    ("before", "more", "words"),
    [
        (0, {}, "no task waits before it"),
        (1, {}, "1 task waits before it"),
        (4, {"at_least": True}, "at least 4 tasks wait before it"),
        (0, {"at_least": True}, "no task waits before it"),
    ],
)
def test_how_many_wait_before(before, more, words):
    assert said(quota({"pods": "1"}, {"pods": "1"}), [], {"pods": "1"}, before=before, **more).endswith(f"{words}.")


def test_where_there_is_room_again_it_is_not_called_full():
    sentence = said(quota({"pods": "5"}, {"pods": "3"}), pods(a=(3, {})), {"pods": "1"}, before=1)
    assert sentence == (
        "Quota q of namespace team has room again (3 of 5 pods used by a (3), 1 asked for); the task waits for its "
        "turn, and 1 task waits before it."
    )


def test_a_quota_of_which_nothing_is_known():
    assert Quota(name="q", namespace="team", used={}, hard={}).waited_for({}) == f"{BEGINS}; {WAITS}."
