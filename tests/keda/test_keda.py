"""What the values promise of KEDA: launchers for what waits, none for nothing, and no task pays for it."""

import pytest
from local.cluster import keda, releases, settings
from local.cluster.console import wait_for

LAUNCHER = f"{settings.RELEASE}-launcher"
TASKS = 24
#: Of values/kind-keda.yaml.
MOST = 3


@pytest.fixture
def launchers(get):
    """How many pods of the launcher there are to be."""
    return lambda: get("deployment", LAUNCHER, "-n", settings.NAMESPACE)["spec"]["replicas"]


@pytest.fixture
def idle(installed, launchers):
    """No task waits, and so there is no launcher."""
    wait_for("no launcher where nothing waits", lambda: launchers() == 0, seconds=180)


def test_keda_reaches_the_broker(idle, get):
    scaled = get("scaledobject", LAUNCHER, "-n", settings.NAMESPACE)
    conditions = {one["type"]: one["status"] for one in scaled["status"]["conditions"]}
    assert conditions["Ready"] == "True"
    assert conditions["Active"] == "False"
    assert conditions["Fallback"] == "False"


def test_helm_test_passes_without_a_launcher(idle):
    releases.helm("test", settings.RELEASE, "--namespace", settings.NAMESPACE, "--timeout=150s")


def test_what_waits_starts_launchers_which_go_again_and_no_task_pays_for_it(idle, launchers, run):
    started = run()
    wait_for(f"{MOST} launchers", lambda: launchers() == MOST, seconds=120, every=0.5)
    assert started.ended() == "success"
    assert [one["try_number"] for one in started.instances()] == [1] * TASKS
    assert len(started.pods()) == TASKS
    wait_for("no launcher", lambda: launchers() == 0, seconds=180)


def test_a_release_leaves_the_number_of_launchers_to_keda(idle, launchers):
    keda.install_platform()
    assert launchers() == 0
