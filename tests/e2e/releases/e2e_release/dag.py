"""Two pods, one after the other; the first ends when somebody lets it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from e2e.e2e_release.words import IMAGE, WORDS

VERSIONS = yaml.safe_load((Path(__file__).parents[2] / "images.yaml").read_text())

with DAG(
    "e2e_release",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["e2e"],
    doc_md=__doc__,
    default_args={"owner": "e2e", "retries": 1, "namespace": "support", "execution_timeout": timedelta(minutes=5)},
):
    first, second = (
        KubernetesPodOperator(
            task_id=name,
            image=f"{IMAGE}:{VERSIONS[IMAGE]}",
            cmds=["sh", "-c"],
            arguments=[script],
            env_vars={"WORDS": WORDS},
            container_resources={"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        )
        for name, script in (
            ("first", "until [ -e /tmp/go ]; do sleep 0.2; done"),
            ("second", "{% include 'say.sh' %}"),
        )
    )
    first >> second
