import pytest

from airflow_platform import pod_status


def pod(phase="Running", containers=("base",), init=(), metadata=None, spec=None, **status):
    """A pod as the API gives it; ``containers`` are names, or names with a state each."""

    def statuses(states):
        states = states if isinstance(states, dict) else dict.fromkeys(states)
        return [{"name": name, "image": "i", "state": state or {}} for name, state in states.items()]

    return {
        "metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z", **(metadata or {})},
        "spec": {"containers": [{"name": name} for name in containers], **(spec or {})},
        "status": {
            "phase": phase,
            "containerStatuses": statuses(containers),
            "initContainerStatuses": statuses(init),
            **status,
        },
    }


def ended(code, **more):
    return {"terminated": {"exitCode": code, **more}}


def waiting(reason, message=None):
    return {"waiting": {"reason": reason, "message": message}}


def test_a_pod_without_a_status_is_pending():
    new = {"metadata": {}, "spec": {}}
    assert pod_status.phase(new) == "Pending"
    assert not pod_status.ended(new, "base", False)
    assert pod_status.exit_code(new, "base") is None


@pytest.mark.parametrize(
    ("phase", "containers", "sidecar", "over", "well"),
    [
        ("Succeeded", {"base": ended(0)}, False, True, True),
        ("Failed", {"base": ended(1)}, False, True, False),
        # Evicted: no container says anything.
        ("Failed", {}, False, True, False),
        # The pod goes on: another container of the author's counts, as it does for the stock operator.
        ("Running", {"base": ended(0), "other": {"running": {}}}, False, False, False),
        ("Failed", {"base": ended(0), "other": ended(1)}, False, True, False),
        # A sidecar that outlives the base container: its end is the task's.
        ("Running", {"base": {"running": {}}, "airflow-xcom-sidecar": {"running": {}}}, True, False, False),
        ("Running", {"base": ended(0), "airflow-xcom-sidecar": {"running": {}}}, True, True, True),
        ("Running", {"base": ended(3), "airflow-xcom-sidecar": {"running": {}}}, True, True, False),
        ("Running", {"base": ended(0), "istio-proxy": {"running": {}}}, False, True, True),
    ],
)
def test_when_a_pod_has_ended_and_how(phase, containers, sidecar, over, well):
    seen = pod(phase, containers)
    assert pod_status.ended(seen, "base", sidecar) is over
    if over:
        assert pod_status.succeeded(seen, "base", sidecar) is well


@pytest.mark.parametrize(
    ("phase", "metadata", "so"),
    [
        ("Pending", {"deletionTimestamp": "2026-01-01T00:00:00Z"}, True),
        ("Running", {"deletionTimestamp": "2026-01-01T00:00:00Z"}, False),
        # Its end was not seen: it may have run.
        ("Pending", {}, False),
        # Deleted by its own trigger, which has given it up.
        (
            "Pending",
            {"deletionTimestamp": "2026-01-01T00:00:00Z", "labels": {"already_checked": "True"}},
            False,
        ),
    ],
)
def test_a_pod_is_known_never_to_have_run(phase, metadata, so):
    assert pod_status.deleted_before_it_ran(pod(phase, metadata=metadata)) is so


@pytest.mark.parametrize(("container", "so"), [({}, True), ({"containerID": "containerd://1"}, False)])
def test_a_container_that_was_never_created_did_not_run_whatever_kubelet_says_of_its_end(container, so):
    status = {"name": "base", "state": ended(137, reason="ContainerStatusUnknown"), **container}
    seen = pod("Failed", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}, containerStatuses=[status])
    assert pod_status.deleted_before_it_ran(seen) is so
    init = {"name": "first", "containerID": "containerd://2", "state": ended(137)}
    assert not pod_status.deleted_before_it_ran({**seen, "status": {**seen["status"], "initContainerStatuses": [init]}})
    del seen["metadata"]["deletionTimestamp"]
    assert not pod_status.deleted_before_it_ran(seen)


def test_times_are_seconds_since_the_epoch():
    assert pod_status.created_at(pod()) == 1767225600
    assert pod_status.scheduled_at(pod()) is None
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:02Z"}
    assert pod_status.scheduled_at(pod(conditions=[scheduled])) == 1767225602
