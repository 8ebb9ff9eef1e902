"""`tools/security/task-pod.yaml`, which `make security` judges, is what the platform makes of a task."""

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from kubernetes.client import ApiClient

DAG = """
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

with DAG("ticket_sentiment__acme", schedule=None):
    KubernetesPodOperator(
        task_id="extract",
        name="ticket-sentiment-acme-extract",
        random_name_suffix=False,
        namespace="support",
        image="ticket-extract@sha256:{digest}",
        pool="light",
        labels={{"dag_id": "ticket_sentiment__acme", "task_id": "extract"}},
        do_xcom_push=False,
    )
"""


@pytest.fixture
def production(monkeypatch, tmp_path, repository):
    """The platform's configuration as `values/production.yaml` has it."""
    values = yaml.safe_load((repository / "values" / "production.yaml").read_text())
    content = {
        "imageRegistry": values["tasks"]["imageRegistry"],
        "tasks": {"namespaces": ["support"], "serviceAccountName": "airflow-task"},
        "nodePools": values["nodePools"],
    }
    path = tmp_path / "platform.yaml"
    path.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("AIRFLOW_PLATFORM_CONFIG", str(path))


def test_the_pod_that_is_judged_is_what_the_platform_makes(production, tmp_path, repository):
    dags = tmp_path / "dags"
    (dags / "support").mkdir(parents=True)
    (dags / "support" / "dag.py").write_text(DAG.format(digest="0" * 64))
    bag = DagBag(dags / "support", bundle_path=dags, bundle_name="dags")
    assert bag.import_errors == {}
    pod = bag.dags["ticket_sentiment__acme"].get_task("extract").build_pod_request_obj(dry_run=True)
    del pod.metadata.labels["airflow_version"]
    judged = yaml.safe_load((repository / "tools" / "security" / "task-pod.yaml").read_text())
    assert ApiClient().sanitize_for_serialization(pod) == judged
