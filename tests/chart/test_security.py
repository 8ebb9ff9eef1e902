"""What holds of all that a release renders, in each of the environments: who may what, and who holds which secret."""

import pytest
from tests.chart.release import needs_helm, pods, render
from tools.check import ENVIRONMENTS

pytestmark = needs_helm


@pytest.fixture(scope="module", params=ENVIRONMENTS, ids="-".join)
def objects(request):
    return render(values=request.param)


def of_kind(objects, *kinds):
    return [one for one in objects if one["kind"] in kinds]


def containers(pod):
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def test_nobody_may_run_commands_in_pods(objects):
    roles = of_kind(objects, "Role", "ClusterRole")
    resources = {resource for role in roles for rule in role["rules"] for resource in rule["resources"]}
    assert roles
    assert not resources & {
        "pods/exec",
        "pods/attach",
        "pods/portforward",
        "pods/ephemeralcontainers",
        "pods/proxy",
        "*",
    }


def test_no_rule_is_of_everything(objects):
    for role in of_kind(objects, "Role", "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in (*rule["verbs"], *rule["apiGroups"], *rule["resources"]), role["metadata"]["name"]


def test_of_the_whole_cluster_nothing_is_more_than_looked_at(objects):
    for role in of_kind(objects, "ClusterRole"):
        assert {verb for rule in role["rules"] for verb in rule["verbs"]} <= {"get", "list"}, role["metadata"]["name"]


def test_pods_of_the_whole_cluster_are_seen_only_where_the_values_say_so(objects):
    """The right is a value of its own, `readPods`, which is off by default."""
    for one in render("readPods=false"):
        if one["kind"] == "ClusterRole":
            assert "pods" not in {resource for rule in one["rules"] for resource in rule["resources"]}


def test_a_team_has_a_role_of_each_component_in_its_namespace_and_no_binding_leads_elsewhere(objects):
    roles = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in of_kind(objects, "Role")}
    for binding in of_kind(objects, "RoleBinding"):
        assert binding["roleRef"]["kind"] == "Role"
        assert (binding["metadata"]["namespace"], binding["roleRef"]["name"]) in roles
        assert {subject["namespace"] for subject in binding["subjects"]} == {"airflow"}
    bound = {
        subject["name"] for one in of_kind(objects, "RoleBinding", "ClusterRoleBinding") for subject in one["subjects"]
    }
    assert "airflow-task" not in bound


#: Which variable holds a secret of the platform, and which components may have it.
HOLDERS = {
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": {
        *("api-server", "scheduler", "dag-processor", "dag-guard", "triggerer", "migrations"),
        *("pgbouncer", "housekeeping", "metrics"),
    },
    "AIRFLOW_PLATFORM_PGBOUNCER_PASSWORD": {"pgbouncer", "api-server", "scheduler", "dag-processor", "triggerer"},
    "AIRFLOW__API_AUTH__JWT_SECRET": {"api-server", "scheduler"},
    "AIRFLOW__CORE__FERNET_KEY": {
        *("api-server", "scheduler", "dag-processor", "dag-guard", "triggerer", "migrations"),
    },
    "AIRFLOW__API__SECRET_KEY": {"api-server", "scheduler", "triggerer", "launcher"},
    "AIRFLOW_PLATFORM_ADMIN_PASSWORD": {"migrations"},
    "AIRFLOW__CELERY__BROKER_URL": {"scheduler", "launcher"},
    "AIRFLOW__CELERY__RESULT_BACKEND": {"scheduler", "launcher"},
    "AWS_ACCESS_KEY_ID": {"api-server", "scheduler", "triggerer", "launcher", "worker", "migrations"},
    "AWS_SECRET_ACCESS_KEY": {"api-server", "scheduler", "triggerer", "launcher", "worker", "migrations"},
    "GITSYNC_USERNAME": {"scheduler", "dag-processor", "dag-guard", "launcher", "worker"},
}


def test_a_secret_is_where_it_is_needed_and_nowhere_else(objects):
    for component, pod in pods(objects):
        for container in containers(pod):
            assert not container.get("envFrom"), component
            for variable in container.get("env", []):
                if "secretKeyRef" in variable.get("valueFrom", {}):
                    assert component in HOLDERS.get(variable["name"], ()), f"{component} has {variable['name']}"


def test_the_key_of_task_tokens_is_with_who_signs_and_who_checks_them(objects):
    holders = {
        component
        for component, pod in pods(objects)
        for container in containers(pod)
        if "AIRFLOW__API_AUTH__JWT_SECRET" in {variable["name"] for variable in container.get("env", [])}
    }
    assert holders == {"api-server", "scheduler"}


def test_every_container_has_a_root_that_cannot_be_written_and_no_rights(objects):
    found = pods(objects)
    expected = {"api-server", "scheduler", "dag-processor", "triggerer", "migrations", "worker", "test"}
    assert expected <= {component for component, _ in found}
    for component, pod in found:
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True, component
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, component
        for container in containers(pod):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, (component, container["name"])
            assert context["allowPrivilegeEscalation"] is False, (component, container["name"])
            assert context["capabilities"] == {"drop": ["ALL"]}, (component, container["name"])


#: Which containers ask Kubernetes' API, and have a token for it.
ASKS = {"api-server", "scheduler", "triggerer", "launcher", "base", "node-pools", "generate-secrets"}


def test_a_token_of_kubernetes_is_in_the_container_that_asks_and_in_no_other(objects):
    for component, pod in pods(objects):
        assert pod["spec"]["automountServiceAccountToken"] is False, component
        for container in containers(pod):
            paths = {mount["mountPath"] for mount in container.get("volumeMounts", [])}
            holds = "/var/run/secrets/kubernetes.io/serviceaccount" in paths
            # That which deletes pods asks, that which cleans the database does not.
            if component != "housekeeping":
                assert holds == (container["name"] in ASKS), (component, container["name"])


def test_every_pod_has_a_policy_of_its_network(objects):
    selectors = [
        one["spec"]["podSelector"]["matchLabels"].items()
        for one in of_kind(objects, "NetworkPolicy")
        if one["metadata"]["namespace"] == "airflow"
    ]
    for component, pod in pods(objects):
        labels = pod["metadata"]["labels"].items()
        assert len([one for one in selectors if one <= labels]) == 1, component


def test_every_namespace_of_tasks_has_one(objects):
    accounts = {one["metadata"]["namespace"] for one in of_kind(objects, "ServiceAccount")} - {"airflow"}
    covered = {
        one["metadata"]["namespace"] for one in of_kind(objects, "NetworkPolicy") if one["spec"]["podSelector"] == {}
    }
    assert accounts == covered


def test_who_holds_no_databases_url_does_not_reach_it(objects):
    """A port of the database is open for those alone that have its URL."""
    found = pods(objects)
    for one in of_kind(objects, "NetworkPolicy"):
        component = one["metadata"]["labels"]["app.kubernetes.io/component"]
        ports = {port["port"] for rule in one["spec"]["egress"] for port in rule.get("ports", [])}
        variables = {
            variable["name"]
            for name, pod in found
            for container in containers(pod)
            for variable in container.get("env", [])
            if name == component
        }
        if component != "task":
            # The database's own port, and PgBouncer's.
            reaches = bool(ports & {5432, 6432})
            assert reaches == ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" in variables), component
