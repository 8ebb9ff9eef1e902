"""Two teams and one pool of six pods, of which the one has twice the share of the other."""

from collections import Counter

import pytest
from local.cluster.console import wait_for
from tests.observe.pods import TERMINATED

SUPPORT, RESEARCH = "support", "research"


def admitted(pod):
    """Whether a pod holds a place: it was let go, and neither has ended nor been told to."""
    held = pod["spec"].get("schedulingGates")
    return not held and pod["status"].get("phase") not in TERMINATED and not pod["metadata"].get("deletionTimestamp")


@pytest.fixture
def history(records):
    """How many pods of each team held a place, of some runs: after each change, in the cluster's own order."""

    def history(*runs):
        changes = []
        for run in runs:
            for pod in run.pods():
                changes += [
                    (int(state["metadata"]["resourceVersion"]), pod.uid, state, event.type)
                    for event, state in zip(pod.events, pod.states, strict=True)
                ]
        holding, seen = {}, []
        for _, uid, state, kind in sorted(changes, key=lambda one: one[0]):
            holding.pop(uid, None)
            if kind != "DELETED" and admitted(state):
                holding[uid] = state["metadata"]["namespace"]
            seen.append(Counter(holding.values()))
        return seen

    return history


def now(runs, history):
    """{team: pods that hold a place}."""
    return dict(history(*runs)[-1]) if any(run.pods() for run in runs) else {}


def all_succeeded_at_once(run):
    assert run.ended() == "success"
    assert {(one["state"], one["try_number"]) for one in run.instances()} == {("success", 1)}


def test_two_teams_that_want_all_get_it_by_their_shares_and_never_more_than_there_is(start, history):
    runs = [start(SUPPORT, 20), start(RESEARCH, 20)]
    wait_for(
        "two thirds and one third", lambda: now(runs, history) == {SUPPORT: 4, RESEARCH: 2}, seconds=120, every=0.2
    )
    for run in runs:
        all_succeeded_at_once(run)
    assert max(sum(one.values()) for one in history(*runs)) == 6


def test_a_team_borrows_what_the_other_leaves_and_gives_it_back_at_no_cost_of_a_retry(start, history):
    research = start(RESEARCH, 40)
    wait_for("all of the pool", lambda: now([research], history) == {RESEARCH: 6}, seconds=120, every=0.2)
    support = start(SUPPORT, 5)
    runs = [research, support]
    wait_for("the share of the owner", lambda: now(runs, history) == {SUPPORT: 4, RESEARCH: 2}, seconds=60, every=0.2)
    all_succeeded_at_once(support)
    all_succeeded_at_once(research)
    assert max(sum(one.values()) for one in history(*runs)) == 6
    by_task = Counter(pod.labels["task_id"] for pod in research.pods())
    taken = [task_id for task_id, pods in by_task.items() if pods > 1]
    assert len(taken) >= 4
    log = research.log(taken[0])
    assert any("by Kueue, as another namespace needs its share of the quota" in line for line in log)
    assert any("the task is started again (1 of 5), and no retry is spent." in line for line in log)
