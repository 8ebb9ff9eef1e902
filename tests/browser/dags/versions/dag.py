"""Two versions of a DAG, as two DAG ids: the second scores two people otherwise, and writes a column more."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, task
from kubernetes.client import V1EnvVar, V1EnvVarSource, V1SecretKeySelector

VERSIONS = yaml.safe_load((Path(__file__).parents[1] / "images.yaml").read_text())
SECRET = {
    variable: V1SecretKeySelector(name="tickets-s3", key=key)
    for variable, key in {
        "AWS_ACCESS_KEY_ID": "access-key",
        "AWS_SECRET_ACCESS_KEY": "secret-key",
        "AWS_ENDPOINT_URL_S3": "endpoint",
        "AWS_REGION": "region",
    }.items()
}
# By a task's own image, with the library that its Parquet is written by.
SCORE = """
import io, json, sys
import pandas as pd
from ticket_extract.storage import write

root, is_new = sys.argv[1], sys.argv[2] == "1.1.0"
people = pd.DataFrame({"id": [f"P-{n:03d}" for n in range(200)], "score": [n / 200 for n in range(200)]})
if is_new:
    people.loc[people["id"].isin(["P-017", "P-101"]), "score"] += 0.05
    people["reviewed"] = False
file = io.BytesIO()
people.to_parquet(file)
write(f"{root}/scores.parquet", file.getvalue())
write(f"{root}/metrics.json", json.dumps({"accuracy": 0.912 if is_new else 0.934, "people": len(people)}).encode())
write(f"{root}/same.csv", people[["id"]].to_csv(index=False).encode())
print("scored", len(people))
"""

for version in ("1.0.0", "1.1.0"):
    # Both write to the same place: what the first has left is read before the second begins.
    root = "s3://tickets/versions/{{ params.day }}"
    with DAG(
        f"versions__{version.replace('.', '_')}",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        tags=["browser"],
        params={"day": "2026-01-01"},
        default_args={"owner": "browser", "retries": 0, "execution_timeout": timedelta(minutes=5)},
    ):
        score = KubernetesPodOperator(
            task_id="score",
            namespace="support",
            pool="light",
            image=f"ticket-extract:{VERSIONS['ticket-extract']}",
            cmds=["python", "-c", SCORE, root, version],
            annotations={"airflow-platform/outputs": f"{root}/scores.parquet {root}/metrics.json {root}/same.csv"},
            env_vars=[
                V1EnvVar(name, value_from=V1EnvVarSource(secret_key_ref=selector)) for name, selector in SECRET.items()
            ],
            container_resources={"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        )

        @task(multiple_outputs=False)
        def summary(version: str, root: str) -> dict:
            return {"people": 200, "rule": "a" if version == "1.0.0" else "b", "list": f"{root}/same.csv"}

        score >> summary(version, root)
