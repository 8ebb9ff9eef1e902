"""`values/production.yaml` holds what it says: a node may be drained, and a release updated, with the platform up."""

import pytest
from tests.chart.release import needs_helm, render

pytestmark = needs_helm

#: What has to stay up: without an api-server no task can say how it ended; the others decide, follow and start.
STAYS_UP = ("api-server", "scheduler", "triggerer", "launcher")


@pytest.fixture(scope="module")
def objects():
    """Kind and name to object, of the release's namespace; names without the release's."""
    return {
        (one["kind"], one["metadata"]["name"].removeprefix("airflow-")): one
        for one in render(values=("common", "production"))
        if one["metadata"].get("namespace") == "airflow"
    }


@pytest.mark.parametrize("component", STAYS_UP)
def test_there_are_two_of_what_has_to_stay_up(objects, component):
    spec = objects["Deployment", component]["spec"]
    scaler = objects.get(("HorizontalPodAutoscaler", component))
    assert ("replicas" in spec) == (scaler is None), "one of them says how many"
    assert (scaler["spec"]["minReplicas"] if scaler else spec["replicas"]) >= 2


@pytest.mark.parametrize("component", STAYS_UP)
def test_a_drain_takes_one_at_a_time(objects, component):
    budget = objects["PodDisruptionBudget", component]["spec"]
    assert budget["maxUnavailable"] == 1
    labels = objects["Deployment", component]["spec"]["template"]["metadata"]["labels"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("component", STAYS_UP)
def test_a_zone_and_a_node_hold_one_as_far_as_there_is_room(objects, component):
    template = objects["Deployment", component]["spec"]["template"]
    constraints = template["spec"]["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in constraints] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    for one in constraints:
        assert one["whenUnsatisfiable"] == "ScheduleAnyway"
        assert one["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize("component", STAYS_UP)
def test_an_update_takes_none_before_another_is_ready(objects, component):
    assert objects["Deployment", component]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_the_only_dag_processor_holds_up_no_drain(objects):
    assert objects["Deployment", "dag-processor"]["spec"]["replicas"] == 1
    assert ("PodDisruptionBudget", "dag-processor") not in objects


def test_an_api_server_that_goes_still_answers_for_a_while(objects):
    pod = objects["Deployment", "api-server"]["spec"]["template"]["spec"]
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert 5 <= int(sleep[1]) < pod["terminationGracePeriodSeconds"]


def test_browsers_are_led_to_the_api_server_by_tls(objects):
    ingress, service = objects["Ingress", "api-server"]["spec"], objects["Service", "api-server"]
    (rule,), (tls,) = ingress["rules"], ingress["tls"]
    assert tls["hosts"] == [rule["host"]]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == service["metadata"]["name"]
    assert backend["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]
    assert f"base_url = https://{rule['host']}\n" in objects["ConfigMap", "config"]["data"]["airflow.cfg"]
