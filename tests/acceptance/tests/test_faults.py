import json

import pytest
from local.cluster.console import Problem
from tests.acceptance import faults


def pod(uid, task, *, runs=True, index=None):
    labels = {"task_id": task} | ({"map_index": index} if index else {})
    state = {"running": {}} if runs else {"terminated": {}}
    return {
        "metadata": {"name": f"of-{task}", "uid": uid, "namespace": "support", "labels": labels},
        "status": {"containerStatuses": [{"state": state}]},
    }


@pytest.fixture
def under(monkeypatch):
    """Breaks things under a run whose pods are these, look by look; the names of what was evicted and killed."""
    done = []

    def under(*looks):
        left = list(looks)

        def kubectl(*words, stdin=None):
            if words[0] == "create":
                done.append(json.loads(stdin)["metadata"]["name"])
                return ""
            if len(left) > 1:
                return json.dumps({"items": left.pop(0)})
            over._over.set()
            return json.dumps({"items": left[0]})

        monkeypatch.setattr(faults, "EVERY", 0)
        monkeypatch.setattr(faults, "kubectl", kubectl)
        monkeypatch.setattr(faults.components, "kill", lambda name, whole_pod: done.append(name))
        monkeypatch.setattr(faults.components, "wait_well", lambda airflow: None)
        over = faults.Faults(None, "d", "r")
        with over:
            over.join(10)
        return done

    return under


def test_a_pod_is_evicted_until_one_was_taken_before_its_end(under):
    # The first had ended by then: another task's pod comes.
    a, b, again = pod("1", "a"), pod("2", "b"), pod("3", "b")
    assert under([], [a], [b], [b, again], [again], [again], []) == ["of-a", "of-b", "triggerer", "scheduler"]


def test_mapped_tasks_are_told_apart(under):
    first, second = pod("a-1", "a", index="0"), pod("a-2", "a", index="1")
    with pytest.raises(Problem, match="the run was over too soon: nothing was broken"):
        under([first], [second], [], [])


def test_a_run_that_is_over_too_soon_proves_nothing(under):
    with pytest.raises(Problem, match="the run was over too soon: a pod of task a was evicted"):
        under([pod("a-1", "a")], [pod("a-2", "a", runs=False)], [])


def test_a_pod_that_is_gone_by_then_is_no_error(monkeypatch):
    def kubectl(*words, stdin):
        raise Problem('pods "a-1" not found', "")

    monkeypatch.setattr(faults, "kubectl", kubectl)
    faults.evict(pod("a-1", "a"))


def test_what_goes_wrong_is_said_when_the_run_is_over(under, monkeypatch):
    def kill(*_, **__):
        raise Problem("no triggerer", "")

    looks = [pod("a-1", "a")], [pod("a-2", "a")], [pod("a-2", "a")], []
    monkeypatch.setattr(faults, "evict", kill)
    with pytest.raises(Problem, match="no triggerer"):
        under(*looks)
