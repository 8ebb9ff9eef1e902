"""The runs that the tests look at.

A test names the DAG whose run it looks at: ``@pytest.mark.runs("semantics_pool")``. The runs of a module's tests are
all started when its first test begins, and go side by side; those of another module do not disturb them. So a test can
be run alone, and then only its own run is started.
"""

import itertools
import json
import time
import uuid
from pathlib import Path

import pytest
import yaml
from kubernetes import config
from kubernetes.client import CoreV1Api
from local.cluster import dags, images, registry, releases, settings
from local.cluster.airflow import ENDED
from local.cluster.console import Problem, wait_for
from tests.observe import reach
from tests.observe.dags import wait_for_source
from tests.observe.pods import PodRecord
from tests.semantics.run import Run

pytest_plugins = ["tests.cluster"]

DAGS = Path(__file__).parent / "dags"
OWN = "semantics_"
# Prints subject and text of each mail that it is sent.
MAIL_SERVER = """
import asyncore, email, email.policy, json, smtpd
class Server(smtpd.SMTPServer):
    def process_message(self, peer, sender, recipients, data, **_):
        mail = email.message_from_bytes(data, policy=email.policy.default)
        print(json.dumps([mail["subject"], mail.get_body(("html", "plain")).get_content()]))
Server(("0.0.0.0", 1025), None)
asyncore.loop()
"""


# Prints path and JSON of each post that it is sent.
WEBHOOK = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(json.dumps([self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))]))
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""


def pytest_addoption(parser):
    parser.addoption(
        "--launcher", choices=list(releases.LAUNCHERS), help="install the platform with it (default: as it is)"
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "runs(dag_id, times=1): the DAG whose run, or runs, the test looks at")
    config.addinivalue_line("markers", "needs(fixture, …): what must be there before the run starts")
    config.addinivalue_line(
        "markers",
        "beyond_stock(what): the operator in a worker pod does not keep this: with no launcher, that is known",
    )


@pytest.fixture(scope="session")
def _installed(request):
    """The platform with the launcher that was asked for; afterwards as `make up` installs it."""
    with releases.launcher(request.config.getoption("--launcher")):
        yield


@pytest.fixture(scope="session")
def launcher(get, _installed):
    """The kind of launcher that the platform runs with; none: the KubernetesExecutor alone."""
    platform = get("configmap", f"{settings.RELEASE}-platform", "-n", settings.NAMESPACE)["data"]["platform.yaml"]
    return yaml.safe_load(platform).get("launcher", {}).get("kind", "none")


@pytest.fixture(autouse=True)
def _known_of_stock(request, launcher):
    if launcher == "none" and (mark := request.node.get_closest_marker("beyond_stock")):
        request.applymarker(pytest.mark.xfail(reason=mark.args[0]))


@pytest.fixture(scope="session")
def client():
    return config.new_client_from_config(str(settings.kubeconfig()))


@pytest.fixture(scope="session")
def core(client):
    return CoreV1Api(client)


@pytest.fixture(scope="session")
def record(client, clean):
    """Every pod of the tasks' namespace, from before the first run."""
    with PodRecord(client, settings.TASK_NAMESPACE) as record:
        yield record


@pytest.fixture(scope="session")
def workers(client, clean):
    """Every worker pod of the KubernetesExecutor, from before the first run that a test of it starts."""
    with PodRecord(client, settings.NAMESPACE, "kubernetes_executor=True") as record:
        yield record


@pytest.fixture(scope="session")
def clean(airflow, kubectl):
    """Nothing is left of an earlier session, which may have been interrupted: runs, pods, notes."""
    for dag in _pages(airflow, f"dags?dag_id_pattern={OWN}%25&exclude_stale=false", "dags"):
        airflow.call("PATCH", f"dags/{dag['dag_id']}", is_paused=True)
        for run in _pages(airflow, f"dags/{dag['dag_id']}/dagRuns?", "dag_runs"):
            path = f"dags/{dag['dag_id']}/dagRuns/{run['dag_run_id'].replace('+', '%2B')}"
            if run["state"] not in ENDED:
                airflow.call("PATCH", path, state="failed")
            airflow.call("DELETE", path)
    for variable in _pages(airflow, "variables?variable_key_pattern=semantics-%25", "variables"):
        airflow.call("DELETE", f"variables/{variable['key']}")
    pods = json.loads(kubectl("get", "pods", "-n", settings.TASK_NAMESPACE, "-l", "dag_id", "-o", "json"))["items"]
    if left := [one["metadata"]["name"] for one in pods if one["metadata"]["labels"]["dag_id"].startswith(OWN)]:
        kubectl("delete", "pods", "-n", settings.TASK_NAMESPACE, "--now", *left)


def _pages(airflow, path, key):
    found = []
    while True:
        page = airflow.call("GET", f"{path}&limit=100&offset={len(found)}")
        found += page[key]
        if not page[key] or len(found) >= page["total_entries"]:
            return found


@pytest.fixture(scope="session")
def parsed(airflow, clean):
    """Push the DAGs of this suite; a function that waits until Airflow has parsed one of them as it was pushed."""
    dags.push(DAGS, "semantics")
    sources = {path: path.read_text() for path in (DAGS / "semantics").glob("*.py")}

    def parsed(dag_id):
        (source,) = (text for text in sources.values() if f'"{dag_id}"' in text)
        wait_for_source(airflow, dag_id, source, seconds=180)

    return parsed


@pytest.fixture(scope="session")
def start(airflow, record, parsed):
    """Start a run of a DAG: by REST, as the UI does too."""

    def start(dag_id, **body):
        parsed(dag_id)
        airflow.call("PATCH", f"dags/{dag_id}", is_paused=False)
        # Short, so that the pods' label is the run's id.
        run_id = f"{time.strftime('%H%M%S')}-{uuid.uuid4().hex[:6]}"
        airflow.call("POST", f"dags/{dag_id}/dagRuns", dag_run_id=run_id, logical_date=None, **body)
        return Run(airflow, record, dag_id, run_id)

    return start


@pytest.fixture(scope="module")
def _started(request, start):
    """{DAG: its runs} of the module's tests that were chosen, all started before the first of them."""
    started = {}
    for item in request.session.items:
        if item.module is not request.module:
            continue
        for name in itertools.chain.from_iterable(mark.args for mark in item.iter_markers("needs")):
            request.getfixturevalue(name)
        for mark in item.iter_markers("runs"):
            (dag_id,) = mark.args
            if dag_id not in started:
                started[dag_id] = [start(dag_id) for _ in range(mark.kwargs.get("times", 1))]
    return started


@pytest.fixture
def runs(request, _started):
    """The runs of the DAG that the test names."""
    return _started[request.node.get_closest_marker("runs").args[0]]


@pytest.fixture
def run(runs):
    """The run of the DAG that the test names."""
    return runs[0]


@pytest.fixture
def notes(airflow):
    """What callbacks and listeners noted of a run: {task id: [(kind, try), …]}, in the order of time."""

    def notes(run):
        found = _pages(airflow, f"variables?variable_key_pattern=semantics-{run.run_id}-%25", "variables")
        said = sorted((json.loads(one["value"]) for one in found), key=lambda one: one["time"])
        return {
            task_id: [(one["kind"], one["try"]) for one in said if one["task"] == task_id]
            for task_id in {one["task"] for one in said}
        }

    return notes


@pytest.fixture(scope="session")
def objects(kubectl):
    """Make objects of the cluster for the session."""
    made = []

    def objects(*wanted):
        everything = {"apiVersion": "v1", "kind": "List", "items": list(wanted)}
        made.append(everything)
        kubectl("apply", "-f", "-", stdin=json.dumps(everything))

    yield objects
    for everything in reversed(made):
        kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=json.dumps(everything))


@pytest.fixture(scope="session")
def connection(airflow):
    """Make a connection of Airflow for the session."""
    made = []

    def connection(connection_id, **body):
        try:
            airflow.call("POST", "connections", connection_id=connection_id, **body)
        except Problem as problem:
            if ": 409 " not in str(problem):
                raise
            airflow.call("PATCH", f"connections/{connection_id}", connection_id=connection_id, **body)
        made.append(connection_id)

    yield connection
    for connection_id in made:
        airflow.call("DELETE", f"connections/{connection_id}")


@pytest.fixture(scope="session")
def task_image():
    """An image that has a shell and Python, as a pod of the cluster names it."""
    (image,) = (one for one in images.tasks() if one.name == "ticket-extract")
    return registry.reference(image)


@pytest.fixture(scope="session")
def server(objects, task_image, kubectl):
    """Run a Python script that serves a port, in a pod of the tasks' namespace; its host, and what it has printed."""

    def server(name, port, script):
        labels = {"semantics": name}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": settings.TASK_NAMESPACE, "labels": labels},
            "spec": {
                "automountServiceAccountToken": False,
                "nodeSelector": {"node-pool": "light"},
                "imagePullSecrets": [{"name": settings.PULL_SECRET}],
                "terminationGracePeriodSeconds": 0,
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    {
                        "name": "server",
                        "image": task_image,
                        "command": ["python3", "-W", "ignore", "-u", "-c", script],
                        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
                        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    }
                ],
            },
        }
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": settings.TASK_NAMESPACE},
            "spec": {"selector": labels, "ports": [{"port": port}]},
        }
        objects(pod, service, *reach.policies(name, labels, port))
        kubectl("wait", f"pod/{name}", "-n", settings.TASK_NAMESPACE, "--for=condition=Ready", "--timeout=90s")

        def printed():
            lines = kubectl("logs", name, "-n", settings.TASK_NAMESPACE).splitlines()
            return [json.loads(line) for line in lines]

        return f"{name}.{settings.TASK_NAMESPACE}.svc", printed

    return server


@pytest.fixture(scope="session")
def mail(server, connection):
    """A mail server that keeps what it is sent, and the connection to it; subject and text of the mails so far."""
    host, mails = server("semantics-mail", 1025, MAIL_SERVER)
    # What the provider uses where a task names no connection.
    connection(
        "smtp_default",
        conn_type="smtp",
        host=host,
        port=1025,
        extra=json.dumps({"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"}),
    )
    return mails


@pytest.fixture(scope="session")
def webhook(server, connection):
    """A webhook that keeps what it is sent, and the connection to it; path and JSON of the posts so far."""
    host, posts = server("semantics-webhook", 8000, WEBHOOK)
    connection("semantics_webhook", conn_type="http", host=host, port=8000, password="services/T0/B0")
    return posts


@pytest.fixture(scope="session")
def sidecars(objects, connection, task_image):
    """What ``do_xcom_push`` needs: pods/exec for whoever reads the XCom, and a sidecar's image that can be pulled.

    The chart's ``tasks.xcomSidecar`` gives the first, where it is set.
    """
    namespace = settings.TASK_NAMESPACE
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "semantics-exec", "namespace": namespace},
        "rules": [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]}],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "semantics-exec", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "semantics-exec"},
        "subjects": [
            {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Group",
                "name": f"system:serviceaccounts:{settings.NAMESPACE}",
            }
        ],
    }
    objects(role, binding)
    extra = {"in_cluster": True, "xcom_sidecar_container_image": task_image}
    connection("semantics_kubernetes", conn_type="kubernetes", extra=json.dumps(extra))


@pytest.fixture(scope="session")
def priorities(objects):
    """Classes that pods can be told apart by, which give no priority; and two by which one pod displaces another.

    These are below all others, so that none but a task's pod is displaced.
    """
    classes = {"semantics": 0, "semantics-quota": 0, "semantics-many": 0, "semantics-low": -20, "semantics-higher": -10}
    for name, value in classes.items():
        objects(
            {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": name},
                "value": value,
                "preemptionPolicy": "PreemptLowerPriority" if name == "semantics-higher" else "Never",
            }
        )


@pytest.fixture(scope="session")
def limited(objects, priorities, kubectl):
    """Allow so many pods at a time, of those of a class."""

    def limited(name, priority_class, pods):
        objects(
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": name, "namespace": settings.TASK_NAMESPACE},
                "spec": {
                    "hard": {"pods": str(pods)},
                    "scopeSelector": {
                        "matchExpressions": [
                            {"scopeName": "PriorityClass", "operator": "In", "values": [priority_class]}
                        ]
                    },
                },
            }
        )

        def counted():
            found = json.loads(kubectl("get", "resourcequota", name, "-n", settings.TASK_NAMESPACE, "-o", "json"))
            return found.get("status", {}).get("hard")

        wait_for("the quota", counted, seconds=30, every=0.2)

    return limited


@pytest.fixture(scope="session")
def quota(limited):
    """Two pods at a time, of those of the class ``semantics-quota``."""
    limited("semantics", "semantics-quota", 2)


@pytest.fixture(scope="session")
def room_for_five(limited, refused_pods):
    """Five pods at a time, of those of the class ``semantics-many``; how many pods had been refused before."""
    limited("semantics-many", "semantics-many", 5)
    return refused_pods()


@pytest.fixture(scope="session")
def refused_pods(kubectl):
    """How many pods the API server has refused until now, in all namespaces, by its own count."""

    def refused_pods():
        labels = ('code="403"', 'resource="pods"', 'subresource=""', 'verb="POST"')
        counts = [
            float(line.rpartition(" ")[2])
            for line in kubectl("get", "--raw", "/metrics").splitlines()
            if line.startswith("apiserver_request_total{") and all(label in line for label in labels)
        ]
        return sum(counts)

    return refused_pods


@pytest.fixture(scope="session")
def settings_of_a_pod(objects):
    """The ConfigMap and the Secret that a pod takes its settings from."""
    metadata = {"name": "semantics", "namespace": settings.TASK_NAMESPACE}
    objects(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"file": "of the ConfigMap\n"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"word": "of-the-secret"}},
    )
