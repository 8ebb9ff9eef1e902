"""DAGs for the tests of airflow_platform.testing: each shows one rule of Airflow's."""

from datetime import UTC, datetime, timedelta

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, TriggerRule, task

START = datetime(2026, 1, 1, tzinfo=UTC)


def dag(dag_id, **arguments):
    defaults = {"namespace": "team", "image": "work:1.0.0", "retry_delay": timedelta(minutes=5), "do_xcom_push": False}
    return DAG(
        dag_id, **{"schedule": None, "start_date": START, "catchup": False, "default_args": defaults, **arguments}
    )


def pod(task_id, **arguments):
    return KubernetesPodOperator(task_id=task_id, **arguments)


with dag("line"):
    pod("first", retries=1) >> pod("second", retries=1, arguments=["{{ ds }}"])

with dag("no_retry"):
    pod("only", retries=0)

with dag("wide", max_active_tasks=2):
    [pod(f"part_{number}") for number in range(4)]

with dag("pooled"):
    [pod(f"part_{number}", pool="narrow") for number in range(3)]

with dag("rules"):
    broken = pod("broken", retries=0)
    broken >> pod("after")
    broken >> pod("whatever", trigger_rule=TriggerRule.ALL_DONE)

with dag("values"):
    given = pod("given", retries=1, do_xcom_push=True)

    @task(do_xcom_push=True)
    def double(value):
        return 2 * value

    double(given.output)

with dag("mapped"):
    KubernetesPodOperator.partial(task_id="each", retries=1).expand(arguments=[["a"], ["b"]])

with dag("daily", schedule="@daily"):
    pod("work", arguments=["{{ data_interval_start | ds }}"], retries=1)

with dag("half_safe"):
    pod("first", retries=1) >> pod("second", retries=0)

with dag("nowhere"):
    pod("work", retries=0, node_selector={"gpu": "a100"}, schedule_timeout_seconds=300)
