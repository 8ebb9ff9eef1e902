"""Who is told that a run has failed, why in one line, and that its DAG is well again: by mail and by a webhook.

A DAG asks for it: ``DAG(…, **notify(email=["team@example.com"], webhook="slack_team"))``. A DAG's callbacks are run by
the DAG processor, once a run: they cost its tasks nothing, and a hundred failed instances are one message. The messages
are sent by Airflow's own notifiers of its providers ``smtp`` and ``http``.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from airflow.providers.common.compat.notifier import BaseNotifier
from airflow.sdk import BaseHook, Variable
from airflow.sdk.configuration import conf
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.execution_time.xcom import XCom

from airflow_platform.release.version import TAG, suffixed

#: The XCom that has the verdict on a task that failed: `airflow_platform.trigger.VERDICT`.
_VERDICT = "platform_verdict"

#: The Variable that says which run of a DAG has failed last, until the DAG is well again.
_FAILED = "airflow_platform.failed.{dag_id}"

#: How many failed tasks a message names.
_NAMED = 3


def notify(*, email: str | Sequence[str] = (), webhook: str | None = None) -> dict[str, list[BaseNotifier]]:
    """What a DAG is given so that people are told: ``DAG(…, **notify(email="team@example.com"))``.

    Args:
        email: addresses. The server and the sender are those of Airflow's connection ``smtp_default``.
        webhook: an Airflow connection of type HTTP, to which JSON goes as Slack takes it, ``{"text": "…"}``. Its host
            is the address; its password is the path, which is secret: Slack's ``services/T…/B…/…``.
    """
    addresses = [email] if isinstance(email, str) else list(email)
    if not addresses and not webhook:
        return {}
    return {
        "on_failure_callback": [RunFailed(email=addresses, webhook=webhook)],
        "on_success_callback": [RunSucceeded(email=addresses, webhook=webhook)],
    }


@dataclass(frozen=True)
class Message:
    """What is sent.

    Args:
        subject: in one line.
        lines: the rest, without the link.
        link: where to read more.
    """

    subject: str
    lines: tuple[str, ...]
    link: str

    @property
    def html(self) -> str:
        """For a mail."""
        link = html.escape(self.link)
        return "".join(f"<p>{html.escape(one)}</p>" for one in self.lines) + f'<p><a href="{link}">{link}</a></p>'

    @property
    def slack(self) -> str:
        """For a webhook: Slack reads ``&``, ``<`` and ``>`` as its own."""
        said = [f"*{self.subject}*", *self.lines]
        return "\n".join([*(html.escape(one, quote=False) for one in said), self.link])


class _Notification(BaseNotifier):
    def __init__(self, *, email: list[str], webhook: str | None) -> None:
        super().__init__()
        self.email, self.webhook = email, webhook

    def send(self, message: Message, context: Any) -> None:
        """Send to each; one that cannot be reached does not keep the message from the other.

        Raises:
            RuntimeError: why somebody could not be reached.
        """
        errors = []
        for channel in self._channels(message):
            try:
                # Not called as a function, which would take what a program has said for a template.
                channel().notify(context)
            except Exception as error:
                errors.append(error)
        if errors:
            said = "; ".join(f"{type(error).__name__}: {error}" for error in errors)
            raise RuntimeError(f"not all could be told that {message.subject}: {said}")

    def _channels(self, message: Message) -> Iterator[Any]:
        if self.email:
            yield lambda: self._mail(message)
        if self.webhook:
            yield lambda: self._post(message)

    def _mail(self, message: Message) -> BaseNotifier:
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        return SmtpNotifier(to=self.email, subject=message.subject, html_content=message.html)

    def _post(self, message: Message) -> BaseNotifier:
        from airflow.providers.http.notifications import HttpNotifier

        endpoint = BaseHook.get_connection(self.webhook).password
        return HttpNotifier(http_conn_id=self.webhook, endpoint=endpoint, json={"text": message.slack})


class RunFailed(_Notification):
    """Says that a run has failed, which tasks of it, and why."""

    def notify(self, context: Any) -> None:
        """Send it; note that the DAG is not well."""
        dag, run_id = context["dag"], context["run_id"]
        before, due = _failed(dag), _due(context)
        if not before or not due or before["due"] <= due.isoformat():
            _note(dag, run_id, due)
        self.send(failure(dag, run_id, str(context.get("reason") or "")), context)


class RunSucceeded(_Notification):
    """Says that a DAG is well again: a run has succeeded that is the one that failed last, or a later one."""

    def notify(self, context: Any) -> None:
        """Send it, where a run has failed before."""
        dag, run_id = context["dag"], context["run_id"]
        before, due = _failed(dag), _due(context)
        if not before or (before["run_id"] != run_id and not (due and due.isoformat() > before["due"])):
            return
        Variable.delete(_variable(dag))
        same = "it had failed" if before["run_id"] == run_id else f"run {before['run_id']} had failed"
        lines = (f"Run {run_id} has succeeded; {same}.",)
        self.send(Message(f"{dag.dag_id} is well again", lines, _link(dag.dag_id, run_id)), context)


def failure(dag: Any, run_id: str, reason: str) -> Message:
    """The message on a run that has failed.

    Args:
        dag: the DAG.
        run_id: the run's id.
        reason: Airflow's word, as ``task_failure``; it is used where no task has failed.
    """
    failed = list(_failed_tasks(dag, run_id))
    causes = [(_name(*one), _cause(dag, run_id, *one)) for one in failed[:_NAMED]]
    lines = [f"{name}: {cause}" for name, cause in causes] or [f"No task has failed: {reason.replace('_', ' ')}."]
    if len(failed) > _NAMED:
        lines.append(f"And {len(failed) - _NAMED} more.")
    first = causes[0][1] if causes else lines[0]
    link = _link(dag.dag_id, run_id, *failed[0]) if failed else _link(dag.dag_id, run_id)
    return Message(f"{dag.dag_id} has failed: {first.partition(';')[0].rstrip('.')}", (f"Run {run_id}", *lines), link)


def _failed_tasks(dag: Any, run_id: str) -> Iterator[tuple[str, int]]:
    """Task and map index, -1 of one that is not mapped, in the order of the DAG."""
    states = RuntimeTaskInstance.get_task_states(dag_id=dag.dag_id, run_ids=[run_id]).get(run_id, {})
    failed = {name for name, state in states.items() if state == "failed"}
    for task_id in dag.task_dict:
        if task_id in failed:
            yield task_id, -1
        mapped = (name.removeprefix(f"{task_id}_") for name in failed if name.startswith(f"{task_id}_"))
        for index in sorted(int(end) for end in mapped if end.isdecimal()):
            if f"{task_id}_{index}" not in dag.task_dict:
                yield task_id, index


def _name(task_id: str, map_index: int) -> str:
    return f"{task_id}[{map_index}]" if map_index >= 0 else task_id


def _cause(dag: Any, run_id: str, task_id: str, map_index: int) -> str:
    """Why a task failed, in one line."""
    if error := getattr(dag.task_dict[task_id], "declared_error", ""):
        return error.splitlines()[0]
    found = XCom.get_one(key=_VERDICT, dag_id=dag.dag_id, task_id=task_id, run_id=run_id, map_index=map_index)
    if isinstance(found, str):
        # Of a task that ended in the triggerer: Airflow encodes what such an end brings once more.
        with suppress(ValueError):
            found = json.loads(found)
    if isinstance(found, dict) and found.get("sentence"):
        return " ".join(str(found["sentence"]).split())
    return "it failed; its log says why."


def _link(dag_id: str, run_id: str, task_id: str | None = None, map_index: int = -1) -> str:
    """The page of a run, or of a task in it."""
    base = conf.get("api", "base_url", fallback="http://localhost:8080/").rstrip("/")
    task = f"/tasks/{quote(task_id, safe='')}" if task_id else ""
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    return f"{base}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}{task}{mapped}"


def _due(context: Any) -> datetime | None:
    """When the run was due; None where Airflow does not say."""
    return getattr(context.get("dag_run"), "run_after", None)


def _variable(dag: Any) -> str:
    """Where the run is kept that failed last: versions of a released DAG have one for all of them."""
    version = next((tag.removeprefix(TAG) for tag in dag.tags if tag.startswith(TAG)), None)
    return _FAILED.format(dag_id=dag.dag_id.removesuffix(suffixed("", version)) if version else dag.dag_id)


def _failed(dag: Any) -> dict[str, str] | None:
    found = Variable.get(_variable(dag), default=None)
    return json.loads(found) if found else None


def _note(dag: Any, run_id: str, due: datetime | None) -> None:
    value = json.dumps({"run_id": run_id, "due": due.isoformat() if due else ""})
    Variable.set(_variable(dag), value, description="The run that failed last; gone when the DAG is well.")
