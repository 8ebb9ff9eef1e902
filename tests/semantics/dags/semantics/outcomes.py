"""What follows from a task's end: retries, callbacks, mail, asset events, other tasks, the end of the pod."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import DAG, Asset, ExceptionRetryPolicy, RetryAction, RetryRule
from semantics.notes import note

from airflow_platform.notifications import notify

VERSIONS = yaml.safe_load((Path(__file__).parents[1] / "images.yaml").read_text())
MANUAL = {"schedule": None, "start_date": datetime(2026, 1, 1, tzinfo=UTC), "catchup": False, "tags": ["semantics"]}
TASK = {
    "owner": "semantics",
    "namespace": "support",
    "image": f"ticket-extract:{VERSIONS['ticket-extract']}",
    "cmds": ["true"],
    "container_resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    "startup_timeout_seconds": 600,
    "execution_timeout": timedelta(minutes=20),
    "retries": 0,
    "retry_delay": timedelta(seconds=1),
    "pool": "light",
}
FAILS = ["sh", "-c", "echo it fails; exit 3"]
SKIPS = ["sh", "-c", "exit 99"]
FAILS_ONCE = ["sh", "-c", "[ {{ ti.try_number }} -gt 1 ]"]


def on_execute(context):
    note("execute", context["ti"])


def on_success(context):
    note("success", context["ti"])


def on_failure(context):
    note("failure", context["ti"])


def on_retry(context):
    note("retry", context["ti"])


def on_skipped(context):
    note("skipped", context["ti"])


CALLBACKS = {
    "on_execute_callback": on_execute,
    "on_success_callback": on_success,
    "on_failure_callback": on_failure,
    "on_retry_callback": on_retry,
    "on_skipped_callback": on_skipped,
}

with DAG("semantics_callbacks", default_args=TASK | CALLBACKS, **MANUAL):
    KubernetesPodOperator(task_id="succeeds")
    KubernetesPodOperator(task_id="recovers", cmds=FAILS_ONCE, retries=2)
    KubernetesPodOperator(task_id="fails", cmds=FAILS, retries=2)
    KubernetesPodOperator(task_id="skips", cmds=SKIPS, skip_on_exit_code=[98, 99])

# No callback, no outlet: nothing but the pod's end decides.
with DAG("semantics_retries", default_args=TASK, **MANUAL):
    KubernetesPodOperator(task_id="recovers", cmds=FAILS_ONCE, retries=2)
    KubernetesPodOperator(task_id="fails", cmds=FAILS, retries=2)
    KubernetesPodOperator(
        task_id="backs_off",
        cmds=["sh", "-c", "[ {{ ti.try_number }} -gt 2 ]"],
        retries=2,
        retry_delay=timedelta(seconds=4),
        retry_exponential_backoff=4,
    )
    KubernetesPodOperator(task_id="skips", cmds=SKIPS, skip_on_exit_code=99, retries=2)
    KubernetesPodOperator(
        task_id="gives_up",
        cmds=FAILS,
        retries=2,
        retry_policy=ExceptionRetryPolicy(
            [RetryRule(exception="builtins.Exception", action=RetryAction.FAIL, reason="not worth a second try")]
        ),
    )
    KubernetesPodOperator(
        task_id="hurries",
        cmds=FAILS_ONCE,
        retries=1,
        retry_delay=timedelta(minutes=10),
        retry_policy=ExceptionRetryPolicy(
            [
                RetryRule(
                    exception="builtins.Exception",
                    action=RetryAction.RETRY,
                    retry_delay=timedelta(seconds=1),
                    reason="worth a second try at once",
                )
            ]
        ),
    )

with DAG("semantics_mail", default_args=TASK, **MANUAL):
    MAIL = {"email": "oncall@example.com", "email_on_failure": True, "email_on_retry": True}
    KubernetesPodOperator(task_id="fails", cmds=FAILS, retries=1, **MAIL)
    KubernetesPodOperator(task_id="succeeds", **MAIL)
    KubernetesPodOperator(
        task_id="notifies",
        cmds=FAILS,
        on_failure_callback=SmtpNotifier(
            to="oncall@example.com", from_email="airflow@example.com", subject="notified of {{ ti.task_id }}"
        ),
    )


with DAG(
    "semantics_notifications",
    default_args=TASK,
    params={"fails": True},
    **notify(email="oncall@example.com", webhook="semantics_webhook"),
    **MANUAL,
):
    KubernetesPodOperator(task_id="may_fail", cmds=["sh", "-c", "exit {{ 3 if params.fails else 0 }}"])


MADE = Asset(name="semantics_made", uri="s3://tickets/semantics/made")
LOST = Asset(name="semantics_lost", uri="s3://tickets/semantics/lost")

with DAG("semantics_asset_producer", default_args=TASK, **MANUAL):
    KubernetesPodOperator(task_id="makes", outlets=[MADE])
    KubernetesPodOperator(task_id="fails", cmds=FAILS, outlets=[LOST])

with DAG("semantics_asset_consumer", default_args=TASK, **MANUAL | {"schedule": [MADE]}):
    KubernetesPodOperator(task_id="consumes")

with DAG("semantics_trigger_rules", default_args=TASK, **MANUAL):
    fails = KubernetesPodOperator(task_id="fails", cmds=FAILS)
    for rule in ("all_success", "all_failed", "one_failed", "all_done", "none_failed"):
        fails >> KubernetesPodOperator(task_id=rule, trigger_rule=rule)

with DAG("semantics_on_finish_action", default_args=TASK, **MANUAL):
    for action in ("delete_pod", "keep_pod", "delete_succeeded_pod", "delete_active_pod"):
        KubernetesPodOperator(task_id=f"succeeds_{action}", on_finish_action=action)
        KubernetesPodOperator(task_id=f"fails_{action}", on_finish_action=action, cmds=FAILS)
