"""The platform's pages, as a person sees them."""

import re
from io import BytesIO
from urllib.parse import unquote, urlsplit

import pytest
import requests
from local.cluster.console import wait_for
from matplotlib.image import imread
from playwright.sync_api import expect

TASK = "/dags/browser/runs/{run}/tasks/{task}"


def why(page):
    return page.get_by_test_id("platform-why")


@pytest.fixture
def open_why(page, run):
    """Open a task instance's page and its tab, as a person does."""

    def open_why(task):
        page.goto(TASK.format(run=run, task=task))
        page.get_by_role("link", name="Why", exact=True).click()
        expect(why(page)).to_be_visible()

    return open_why


def test_a_failed_task_says_why(page, open_why, picture):
    open_why("fails")
    expect(why(page)).to_have_text(re.compile(r"^Task fails failed\. Container base of pod .* ended with exit code 3"))
    # The program's own words, as text.
    expect(page.get_by_text("<b>there is no such day</b>")).to_be_visible()
    expect(page.get_by_text("the task's author")).to_be_visible()
    picture("why-failed")


def test_its_log_is_one_click_away(page, open_why, run):
    open_why("fails")
    page.get_by_role("link", name="Its log").click()
    page.wait_for_url(lambda url: unquote(urlsplit(url).path).endswith(f"/runs/{run}/tasks/fails"))
    expect(page.get_by_role("textbox", name="Search logs...")).to_be_visible()


def test_a_task_that_waits_says_for_what(page, open_why, picture):
    open_why("waits")
    expect(why(page)).to_have_text(re.compile(r"^Pod waits-\S+ waits for .*CPU"))
    expect(page.get_by_text("nobody: room has to come free")).to_be_visible()
    picture("why-waiting")


def test_a_task_that_waits_for_a_quota_says_who_uses_it(page, run, picture):
    def waits(index):
        found = page.request.get("/airflow-platform/why/browser/trains", params={"map_index": index})
        return "is full" in found.json()["sentence"]

    def waiting():
        return [index for index in range(3) if waits(index)]

    (index,) = wait_for("one of three tasks that waits for the quota", waiting, seconds=120)
    page.goto(f"{TASK.format(run=run, task='trains')}/mapped/{index}")
    page.get_by_role("link", name="Why", exact=True).click()
    said = (
        r"^Quota airflow-gpu of namespace support is full \(8Gi of 8Gi of memory used by browser \(8Gi\), 4Gi asked for"
    )
    expect(why(page)).to_have_text(re.compile(said))
    picture("why-quota")


def test_a_task_behind_another_leads_to_that_one(page, open_why):
    open_why("after")
    expect(why(page)).to_have_text(re.compile(r"^Task after waits for what comes before it: waits \(deferred\)"))
    page.get_by_role("link", name="Why of waits").click()
    expect(why(page)).to_have_text(re.compile(r"^Pod waits-"))


def test_the_node_pools_show_nodes_slots_and_what_waits(page, run, picture):
    page.goto("/")
    page.get_by_role("link", name="Node pools").click()
    light = page.get_by_test_id("platform-pool-light")
    expect(light).to_contain_text("nodes with node-pool=light")
    expect(light).to_contain_text("of 32 slots taken")
    expect(light.get_by_role("row", name=re.compile("ready .*CPU.*memory"))).not_to_have_count(0)
    expect(light.get_by_role("columnheader", name="Free", exact=True)).to_be_visible()
    gpu = page.get_by_test_id("platform-pool-gpu")
    expect(gpu).to_contain_text("nodes with node-pool=gpu")
    expect(gpu).to_contain_text("Quota airflow-gpu of namespace support is full")
    others = page.get_by_test_id("platform-pool-default_pool")
    waiting = others.get_by_role("row", name=re.compile(r"browser\.waits"))
    expect(waiting.first).to_contain_text(re.compile("waits for .*CPU"))
    picture("node-pools")
    waiting.first.get_by_role("link", name="browser.waits").click()
    expect(why(page)).to_have_text(re.compile(r"^Pod waits-"))


def test_the_pages_follow_the_dark_theme(page, open_why, picture):
    page.emulate_media(color_scheme="dark")
    page.add_init_script("localStorage.setItem('theme', 'dark')")
    open_why("fails")
    shades = imread(BytesIO(why(page).screenshot()))[..., :3]
    assert shades.mean() < 0.4, "the ground is not dark"
    assert shades.max() > 0.8, "the text is not light"
    picture("why-failed-dark")


def test_an_answer_that_changes_is_shown_without_a_click(page, open_why, airflow, run):
    open_why("after")
    path = f"dags/browser/dagRuns/{run}/taskInstances/after"
    airflow.call("PATCH", path, new_state="skipped")
    expect(why(page)).to_have_text(re.compile(r"^Task after was skipped"), timeout=30_000)


@pytest.mark.parametrize("path", ["why/browser/fails", "node-pools"])
def test_nobody_reads_what_the_pages_show(found, path):
    assert requests.get(f"{found['ui']}/airflow-platform/{path}", timeout=30).status_code == 401


def test_the_same_at_the_command_line(kubectl, run):
    command = (
        "exec",
        "-n",
        "airflow",
        "deploy/airflow-api-server",
        "-c",
        "api-server",
        "--",
        "airflow-platform",
        "why",
    )
    text = kubectl(*command, "browser", "fails", run)
    assert re.match(r"Task fails failed\. Container base of pod \S+ ended with exit code 3", text)
    assert "[base] <b>there is no such day</b>" in text

    def waits():
        return "waits for" in kubectl(*command, "browser", "waits")

    wait_for("the same of the task that waits", waits, seconds=60)
