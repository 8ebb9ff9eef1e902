"""What the chart's alerts and dashboards name is what somebody sends: Airflow, the platform or git-sync."""

import re
from importlib.resources import files

import pytest
import yaml
from tests.monitoring import expressions

from airflow_platform import metrics, monitor

#: How the statsd exporter's mapping names a metric, by its type in Airflow's words.
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "timer": ("_seconds", "_seconds_sum", "_seconds_count")}
#: Others', of those that they serve: git-sync (https://github.com/kubernetes/git-sync/blob/v4.7.1/main.go); where there
#: are such, PgBouncer's exporter (https://github.com/prometheus-community/pgbouncer_exporter) and kube-state-metrics
#: (https://github.com/kubernetes/kube-state-metrics/blob/main/docs/metrics/workload/job-metrics.md).
OTHERS = {"git_sync_count_total", "kube_job_failed", "pgbouncer_pools_client_maxwait_seconds"}


def in_prometheus(name, kind):
    plain = re.sub(r"^airflow[._]", "", name)
    return {"airflow_" + re.sub(r"[^a-zA-Z0-9_]", "_", plain) + suffix for suffix in SUFFIXES[kind]}


@pytest.fixture(scope="module")
def known():
    registry = files("airflow._shared.observability.metrics").joinpath("metrics_template.yaml").read_text()
    airflows = {(one["name"], one["type"]) for one in yaml.safe_load(registry)["metrics"]}
    own = {value for name, value in vars(metrics).items() if name.isupper() and isinstance(value, str)}
    platforms = {(name, "counter" if name in metrics.COUNTERS else "gauge") for name in own}
    return {one for name, kind in airflows | platforms for one in in_prometheus(name, kind)} | {*monitor.NAMES} | OTHERS


@pytest.mark.parametrize("name", sorted(expressions.named()))
def test_a_metric_that_is_named_is_sent(known, name):
    assert name in known, f"named by {', '.join(sorted(expressions.named()[name]))}"


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ('sum by (a_label) (rate(one_total{x="y_z"}[5m])) / 60 > 0.5', {"one_total"}),
        ("a_thing unless on (b) min by (c) (other) - time() < 14 * 86400", {"a_thing", "other"}),
        ("summ(one)", {"summ", "one"}),
    ],
)
def test_the_names_of_an_expression_are_found(expression, named):
    assert expressions.names(expression) == named
