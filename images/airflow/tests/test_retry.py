"""Which ends cost no retry, for all causes that the diagnosis calls the infrastructure's."""

import re
from pathlib import Path

import pytest

from airflow_platform import diagnosis, retry
from airflow_platform.diagnosis import Verdict

#: What it does not know the end of, or where the pod may still come to run.
NOT_TAKEN = {"deleted", "unknown", "node-not-ready", "node-silent", "scheduler-silent"}


def verdict(cause, kind="infrastructure", **more):
    return Verdict(cause=cause, kind=kind, sentence="It was so.", object_kind="pod", object="p", **more)


def pod(phase, grace=30):
    return {"metadata": {"deletionGracePeriodSeconds": grace}, "status": {"phase": phase}}


def free(cause, phase="Failed", gone=False, grace=30, deleted_too=False, **more):
    return retry.costs_no_retry(verdict(cause, **more), pod(phase, grace), gone=gone, deleted_too=deleted_too)


@pytest.mark.parametrize("cause", sorted(retry.TAKEN))
def test_what_takes_a_pod_costs_no_retry_once_it_has_stopped(cause):
    assert free(cause)
    assert not free(cause, "Running")
    assert not free(cause, kind="user")


def test_every_cause_that_may_take_a_pod_is_known():
    """A cause that is new in the diagnosis has to be put into one of the two."""
    text = "".join(path.read_text() for path in Path(diagnosis.__file__).parent.glob("*.py"))
    verdicts = re.findall(r'cause="([^"]+)",\s+kind="infrastructure"', text)
    assert verdicts
    assert set(verdicts) <= retry.TAKEN | NOT_TAKEN


@pytest.mark.parametrize("cause", sorted(NOT_TAKEN))
def test_what_does_not_costs_one(cause):
    assert not free(cause)


@pytest.mark.parametrize(
    ("cause", "grace", "expected"), [("drained", 30, True), ("drained", 0, False), ("node-lost", 30, False)]
)
def test_a_pod_whose_end_nobody_saw_has_stopped_where_kubelet_was_asked(cause, grace, expected):
    assert free(cause, "Running", gone=True, grace=grace) is expected


def test_a_pod_that_used_more_than_it_had_asked_for_was_not_taken():
    assert free("evicted")
    assert not free("evicted", container="base")


def test_what_somebody_deleted_is_for_the_values_to_say():
    assert free("deleted", deleted_too=True)
    assert not free("deleted", "Running", gone=True, deleted_too=True)


def test_a_pod_that_nobody_has_seen_may_have_done_its_work():
    assert not retry.costs_no_retry(verdict("deleted"), None, gone=True, deleted_too=True)
    assert not retry.costs_no_retry(None, pod("Failed"), gone=False, deleted_too=True)
