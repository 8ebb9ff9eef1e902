"""Two versions of a DAG run and compared, and the report as a person sees it."""

import json

import pytest
from local.cluster import command, dags
from playwright.sync_api import expect
from tests.browser.conftest import DAGS, PICTURES

VERSIONS = ("1.0.0", "1.1.0")
SAME = (*VERSIONS[:1], *VERSIONS[:1])


@pytest.fixture(scope="module")
def compare(airflow, found):
    """Runs the command as CI would: its exit code, what it says as JSON, and the folder with the report."""
    commit = dags.push(DAGS, "versions")
    for version in VERSIONS:
        dag_id = f"versions__{version.replace('.', '_')}"
        dags.wait_until_served(airflow, dag_id, commit)
        airflow.call("PATCH", f"dags/{dag_id}", is_paused=False)

    def compare(*words):
        PICTURES.mkdir(parents=True, exist_ok=True)
        files = ["--report", f"{PICTURES}/comparison.html", "--json", f"{PICTURES}/comparison.json"]
        code = command.run(found, "compare", "versions", *words, *files, folders={PICTURES: str(PICTURES)})
        return code, json.loads((PICTURES / "comparison.json").read_text())

    return compare


def test_two_versions_run_and_what_is_different_is_one_page(compare, program):
    code, found = compare(*VERSIONS, "--param", "day=2026-01-07")
    assert code == 1
    assert [found[side]["dag_id"] for side in ("left", "right")] == ["versions__1_0_0", "versions__1_1_0"]
    assert [found[side]["conf"] for side in ("left", "right")] == [{"day": "2026-01-07"}] * 2
    by_verdict = {}
    for one in found["findings"]:
        by_verdict.setdefault(one["verdict"], {})[one["where"].partition(": ")[0]] = one
    assert set(by_verdict["different"]) == {"score output 1", "score output 2", "summary return_value"}
    assert {"score", "summary", "score output 3", "summary return_value.list", "state"} <= set(by_verdict["same"])
    scores = by_verdict["different"]["score output 1"]
    assert scores["how"].startswith("200 rows, 2 columns")
    assert [(one["where"], one["left"], one["right"]) for one in scores["differences"]] == [
        ("column reviewed", "", "BOOLEAN"),
        ('id "P-017", score', "0.085", "0.135"),
        ('id "P-101", score', "0.505", "0.555"),
    ]
    (rule,) = by_verdict["different"]["summary return_value"]["differences"]
    assert (rule["where"], rule["left"], rule["right"]) == ("rule", '"a"', '"b"')

    page = program.new_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"file://{PICTURES}/comparison.html")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not the same: 2 outputs, 1 XCom")
    expect(page.get_by_role("article").first).to_contain_text("score output 1")
    expect(page.get_by_role("article").first).to_contain_text('id "P-017", score')
    assert len(asked) == 1, "the page loads something"
    page.screenshot(path=PICTURES / "comparison.png", full_page=True)
    page.close()


def test_a_version_that_is_run_twice_is_the_same(compare):
    code, found = compare(*SAME, "--param", "day=2026-01-08")
    assert code == 0, found
    assert {one["verdict"] for one in found["findings"]} == {"same"}
