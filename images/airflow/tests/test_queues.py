import pytest

from airflow_platform.config import PlatformConfig
from airflow_platform.queues import problems

PLATFORM = PlatformConfig.model_validate(
    {
        "tasks": {"namespaces": ["support", "research"]},
        "nodePools": [
            {"name": "light", "slots": 1},
            {"name": "gpu", "slots": 1, "localQueue": "airflow-gpu", "quota": {"pods": "1"}},
        ],
    }
)
SUPPORT, RESEARCH = (f"namespaces/{one}/localqueues/airflow-gpu" for one in ("support", "research"))


def active(status="True", **more):
    return {"status": {"conditions": [{"type": "Active", "status": status, **more}]}}


def local(namespace, **more):
    return {"spec": {"clusterQueue": f"airflow.airflow.gpu.{namespace}"}, **active(**more)}


@pytest.fixture
def asked():
    """What Kueue has, by the end of its path; what is taken away is not there."""
    fair = {"status": {"fairSharing": {"weightedShare": 0}}}
    kueue = {SUPPORT: local("support"), RESEARCH: local("research")}
    kueue |= {f"clusterqueues/airflow.airflow.gpu.{one}": fair for one in ("support", "research")}

    def api(method, path, body, content_type):
        found = kueue.get(path.removeprefix("/apis/kueue.x-k8s.io/v1beta2/"))
        return (200, found) if found else (404, {"message": "it is not there"})

    return kueue, api


def test_queues_that_work_are_no_problem(asked):
    assert problems(PLATFORM, asked[1]) == []


def test_without_queues_nothing_is_asked():
    platform = PLATFORM.model_copy(update={"node_pools": PLATFORM.node_pools[:1]})
    assert problems(platform, None) == []


@pytest.mark.parametrize(
    ("path", "there", "says"),
    [
        (SUPPORT, None, "queue airflow-gpu of namespace support cannot be read: 404: it is not there"),
        (SUPPORT, {"spec": {}}, "is new to Kueue; see whether its controller runs"),
        (
            RESEARCH,
            local("research", status="False", message="Can't submit new workloads to clusterQueue"),
            "queue airflow-gpu of namespace research admits nothing: Can't submit new workloads to clusterQueue",
        ),
        ("clusterqueues/airflow.airflow.gpu.support", None, "has a ClusterQueue that cannot be read: 404"),
        (
            "clusterqueues/airflow.airflow.gpu.support",
            {"status": {}},
            "of namespace support never gets its share back from others; set fairSharing in Kueue's configuration",
        ),
    ],
)
def test_what_does_not_work_is_said(asked, path, there, says):
    kueue, api = asked
    kueue[path] = there
    (sentence,) = problems(PLATFORM, api)
    assert sentence.startswith("Pool gpu: queue airflow-gpu of namespace ")
    assert says in sentence
