"""Each alert has a runbook and tests; the dashboards are what Grafana reads, and the page has all of it."""

import json
from pathlib import Path

import pytest
import yaml
from tests.monitoring import expressions

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGE = (ROOT / "docs" / "monitoring.md").read_text()
TESTS = yaml.safe_load((ROOT / "tests" / "monitoring" / "rules" / "rules_test.yaml").read_text())["tests"]
ALERTS = expressions.alerts()
#: What a runbook says, in this order.
PARTS = ["## What it means", "## How to look", "## What to do"]


def rows(heading):
    """The cells of the table below a heading of the page."""
    lines = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0].splitlines()
    table = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines if line.startswith("|")]
    return [cells for cells in table[2:] if any(cells[1:])]


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_it_is_and_where_its_runbook_is(alert):
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{alert}.md"
    assert rule["for"]


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbook_says_what_it_means_how_to_look_and_what_to_do(alert):
    text = (RUNBOOKS / f"{alert}.md").read_text()
    assert text.startswith(f"# {alert}\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == PARTS


def test_there_is_no_runbook_without_an_alert():
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_tested_to_fire_and_not_to_fire(alert):
    checks = [check for test in TESTS for check in test["alert_rule_test"] if check["alertname"] == alert]
    assert {bool(check["exp_alerts"]) for check in checks} == {True, False}


def test_only_alerts_that_there_are_are_tested():
    assert {check["alertname"] for test in TESTS for check in test["alert_rule_test"]} == set(ALERTS)


@pytest.mark.parametrize("name", expressions.dashboards())
def test_a_dashboard_is_one_that_grafana_reads(name):
    dashboard = expressions.dashboards()[name]
    assert dashboard["uid"] == Path(name).stem
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    places = [(one["gridPos"]["x"], one["gridPos"]["y"]) for one in dashboard["panels"]]
    assert len(set(places)) == len(places)
    for panel in dashboard["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["targets"]


def test_every_query_is_of_the_namespace_that_is_chosen():
    for name, dashboard in expressions.dashboards().items():
        variables = {one["name"] for one in dashboard["templating"]["list"]}
        assert {"datasource", "namespace"} == variables
        for title, queries in expressions.panels().items():
            for query in queries:
                assert query.count('namespace="$namespace"') == query.count("{"), f"{name}: {title}: {query}"


def test_the_page_has_every_panel():
    assert [cells[:2] for cells in rows("The dashboard")] == [
        [panel["title"], panel["description"]]
        for dashboard in expressions.dashboards().values()
        for panel in dashboard["panels"]
        if panel["type"] != "row"
    ]


def test_the_page_says_of_every_panel_which_metrics_it_shows():
    for title, _, metrics in rows("The dashboard"):
        named = set().union(*map(expressions.names, expressions.panels()[title]))
        assert {one.strip(" `") for one in metrics.split(",")} == named, title


def test_the_page_has_every_alert_how_long_it_waits_and_how_urgent_it_is():
    assert [[cells[0], *cells[2:]] for cells in rows("The alerts")] == [
        [f"[{alert}](runbooks/{alert}.md)", rule["for"], rule["labels"]["severity"]] for alert, rule in ALERTS.items()
    ]


def test_files_of_dashboards_end_with_a_line():
    for path in (expressions.FILES / "dashboards").glob("*.json"):
        assert path.read_text() == json.dumps(json.loads(path.read_text()), indent=1, ensure_ascii=False) + "\n"
