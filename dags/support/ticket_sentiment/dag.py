"""
### Sentiment of a client's support tickets

Every day, for the day before: take the client's tickets out of its database (`extract`), train a classifier on the
labelled ones of the last 30 days (`train`), give every ticket of the day a sentiment (`score`, in batches), and put
it on one page (`report`). A day without tickets is skipped.

All files of a day are in `s3://tickets/<client>/<day>/`: `tickets.parquet`, `labelled.parquet`, `model.joblib`,
`metrics.json`, `scores/part-<i>.parquet`, and **`report.html`**, the page to read.

Running a day again replaces its files. A run started by hand takes the last full day before its logical date, or,
when it has none, before now.
"""

from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, CronDataIntervalTimetable
from kubernetes.client import V1EnvVar, V1EnvVarSource, V1ResourceRequirements, V1SecretKeySelector

HERE = Path(__file__).parent
VERSIONS = yaml.safe_load((HERE.parents[1] / "images.yaml").read_text())
CLIENTS = yaml.safe_load((HERE / "clients.yaml").read_text())

NO_TICKETS = 99  # exit code of ticket-extract

# A run without a logical date has no data interval: it takes the last full day before it was due.
MIDNIGHT = "dag_run.run_after.replace(hour=0, minute=0, second=0, microsecond=0)"
INTERVAL_START = f"data_interval_start | default({MIDNIGHT} - macros.timedelta(days=1), true)"
INTERVAL_END = f"data_interval_end | default({MIDNIGHT}, true)"
DAY = f"{{{{ {INTERVAL_START} | ds }}}}"


def image(name: str) -> str:
    return f"{name}:{VERSIONS[name]}"


def resources(cpu: str, memory: str) -> V1ResourceRequirements:
    return V1ResourceRequirements(requests={"cpu": cpu, "memory": memory}, limits={"memory": memory})


def from_secret(variable: str, secret: str, key: str, optional: bool = False) -> V1EnvVar:
    selector = V1SecretKeySelector(name=secret, key=key, optional=optional)
    return V1EnvVar(name=variable, value_from=V1EnvVarSource(secret_key_ref=selector))


def outputs(*addresses: str) -> dict[str, str]:
    """The annotation that says what a task writes: two runs are compared by it."""
    return {"airflow-platform/outputs": " ".join(addresses)}


S3 = [
    from_secret("AWS_ACCESS_KEY_ID", "tickets-s3", "access-key"),
    from_secret("AWS_SECRET_ACCESS_KEY", "tickets-s3", "secret-key"),
    # Where S3 is not Amazon's.
    from_secret("AWS_ENDPOINT_URL_S3", "tickets-s3", "endpoint", optional=True),
    from_secret("AWS_REGION", "tickets-s3", "region", optional=True),
]

for client, settings in CLIENTS.items():
    root = f"s3://tickets/{client}"
    day = f"{root}/{DAY}"
    batches = settings["batches"]
    end_date = settings.get("end_date")

    with DAG(
        dag_id=f"ticket_sentiment__{client}",
        # The interval is the day before the run, not the instant of it, which "@daily" alone would mean.
        schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
        start_date=datetime.combine(settings["start_date"], time(), UTC),
        end_date=end_date and datetime.combine(end_date, time(), UTC),
        catchup=settings["catchup"],
        max_active_runs=1,
        tags=["support", "sentiment", client],
        doc_md=__doc__,
        default_args={
            "owner": "support",
            "namespace": "support",
            "depends_on_past": settings["depends_on_past"],
            "retries": 2,
            "retry_delay": timedelta(minutes=1),
            "startup_timeout_seconds": 600,  # a node that is still to come, an image that is still to be pulled
            "log_events_on_failure": True,
            "do_xcom_push": False,
        },
    ):
        extract = KubernetesPodOperator(
            task_id="extract",
            image=image("ticket-extract"),
            annotations=outputs(f"{day}/tickets.parquet", f"{day}/labelled.parquet"),
            arguments=[
                f"--root={root}",
                f"--start={{{{ {INTERVAL_START} | ts }}}}",
                f"--end={{{{ {INTERVAL_END} | ts }}}}",
                "--label-days=30",
            ],
            env_vars=[from_secret("TICKETS_DSN", f"tickets-{client}", "dsn"), *S3],
            skip_on_exit_code=NO_TICKETS,
            pool="light",
            container_resources=resources(cpu="100m", memory="512Mi"),
            execution_timeout=timedelta(minutes=15),
        )
        train = KubernetesPodOperator(
            task_id="train",
            image=image("sentiment-train"),
            annotations=outputs(f"{day}/model.joblib", f"{day}/metrics.json"),
            arguments=[f"--root={root}", f"--day={DAY}"],
            env_vars=S3,
            pool="gpu",
            container_resources=resources(cpu="500m", memory="2Gi"),
            execution_timeout=timedelta(hours=1),
        )
        score = KubernetesPodOperator.partial(
            task_id="score",
            image=image("sentiment-score"),
            annotations=outputs(f"{day}/scores/part-{{{{ ti.map_index }}}}.parquet"),
            env_vars=S3,
            pool="light",
            container_resources=resources(cpu="100m", memory="768Mi"),
            execution_timeout=timedelta(minutes=30),
        ).expand(
            arguments=[[f"--root={root}", f"--day={DAY}", f"--batch={i}", f"--of={batches}"] for i in range(batches)]
        )
        report = KubernetesPodOperator(
            task_id="report",
            image=image("ticket-report"),
            annotations=outputs(f"{day}/report.html"),
            arguments=[f"--root={root}", f"--day={DAY}", "--days=30", f"--batches={batches}", f"--client={client}"],
            env_vars=S3,
            pool="light",
            container_resources=resources(cpu="100m", memory="512Mi"),
            execution_timeout=timedelta(minutes=15),
        )
        extract >> train >> score >> report
