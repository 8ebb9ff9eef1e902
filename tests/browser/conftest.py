"""A real browser, logged in to Airflow's UI on the cluster that ``make up`` made, and a run to look at."""

import os
from pathlib import Path

import pytest
from local.cluster import dags, settings
from local.cluster.console import wait_for
from playwright.sync_api import expect, sync_playwright
from tests.browser import chromium
from tests.observe.dags import wait_for_source

pytest_plugins = ["tests.cluster"]

DAGS = Path(__file__).parent / "dags"
DAG = "browser"
#: What the tests have seen, for docs/images.
PICTURES = settings.STATE / "browser"
#: Milliseconds until something is in view; the first page loads some megabytes, with two cores.
expect.set_options(timeout=60_000)


@pytest.fixture(scope="session")
def program():
    # Without it, a window of its own is no boundary that Chromium could set up as root.
    sandbox = [] if os.geteuid() else ["--no-sandbox"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.path(), args=[*sandbox, "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def session(program, found):
    """Cookies of a person who has logged in by the form."""
    context = program.new_context(base_url=found["ui"])
    page = context.new_page()
    page.goto("/")
    page.fill("input[name=username]", found["user"])
    page.fill("input[name=password]", found["password"])
    page.click("input[type=submit], button[type=submit]")
    page.wait_for_url(lambda url: "/login" not in url)
    yield context.storage_state()
    context.close()


@pytest.fixture
def page(program, found, session):
    """A page of the UI, logged in. What its scripts could not do fails the test."""
    context = program.new_context(
        base_url=found["ui"], storage_state=session, viewport={"width": 1440, "height": 900}, color_scheme="light"
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def picture(page):
    """Keeps what is in view."""

    def picture(name):
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"{name}.png")

    return picture


@pytest.fixture(scope="session")
def run(airflow, get):
    """A run in which one task has failed and another waits; its id."""
    dags.push(DAGS, "browser")
    wait_for(f"DAG {DAG}", lambda: airflow.dag(DAG), seconds=90)
    wait_for_source(airflow, DAG, (DAGS / "browser" / "dag.py").read_text())
    airflow.call("PATCH", f"dags/{DAG}", is_paused=False)
    nodes = get("nodes", "-l", "node-pool=light")["items"]
    cpu = max((node["status"]["allocatable"]["cpu"] for node in nodes), key=float)
    run_id = airflow.call("POST", f"dags/{DAG}/dagRuns", logical_date=None, conf={"cpu": cpu})["dag_run_id"]

    def there():
        states = {one["task_id"]: one["state"] for one in airflow.task_instances(DAG, run_id)}
        return states.get("fails") == "failed" and states.get("waits") == "deferred"

    try:
        wait_for("a task that has failed, and one that waits", there, seconds=180)
        yield run_id
    finally:
        airflow.call("PATCH", f"dags/{DAG}/dagRuns/{run_id}", state="failed")
