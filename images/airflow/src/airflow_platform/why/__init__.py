"""Why a task does not run, or how it ended, in one sentence: for the command line and for Airflow's UI.

Facts are gathered where they are (`database`, `pod`, `stored`), and one pure function makes the answer of them
(`answer`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_platform.why.answer import Answer
    from airflow_platform.why.database import Found, Request
    from airflow_platform.why.facts import Instance, Pod

#: States whose try has ended, so that S3 may have evidence of it.
_FAILED = ("failed", "up_for_retry")


async def explain(request: Request) -> Answer:
    """The answer.

    Raises:
        airflow_platform.why.database.NotFoundError: there is no such DAG, task, run or instance.
    """
    from airflow_platform.why.answer import answer

    found = await asyncio.to_thread(_look, request)
    facts = found.facts
    instance = facts.instance
    if instance is not None and instance.state in _FAILED and found.log_path:
        return answer(replace(facts, end=await asyncio.to_thread(_end, found)))
    return answer(replace(facts, pod=await _pod(request, found), instance=await _told_anew(request, found)))


def _look(request: Request) -> Found:
    from airflow.utils.session import create_session

    from airflow_platform.why import database

    with create_session() as session:
        return database.look(request, session, time.time())


def _end(found: Found) -> object:
    from airflow_platform.why import stored

    evidence = stored.evidence(found.log_path)
    end = replace(found.facts.end, evidence=evidence)
    if end.marked_by or (evidence and (evidence.get("verdict") or evidence.get("reason"))):
        return end
    return replace(end, error=stored.last_error(found.log_path))


async def _told_anew(request: Request, found: Found) -> Instance | None:
    """The instance; where it waits for a quota, with how that is now, and not as it was when it refused the pod."""
    from airflow_platform.diagnosis.quantity import amounts
    from airflow_platform.why import pod

    instance = found.facts.instance
    if instance is None or instance.trigger is None or instance.trigger.kind != "again" or not found.trigger:
        return instance
    arguments = found.trigger[1]
    quota = await pod.quota_of_trigger(arguments, request.readable)
    if quota is None:
        return instance
    reason = quota.waited_for(amounts(arguments.get("requested")), instance.trigger.before)
    return replace(instance, trigger=replace(instance.trigger, reason=reason))


async def _pod(request: Request, found: Found) -> Pod | None:
    from airflow_platform import config
    from airflow_platform.why import pod

    facts = found.facts
    instance = facts.instance
    if instance is None:
        return None
    if instance.trigger and instance.trigger.kind == "pod" and found.trigger:
        return await pod.of_trigger(found.trigger[1])
    if instance.state not in ("queued", "running") or facts.executor is None or facts.executor.kind != "kubernetes":
        return None
    from airflow.configuration import conf

    labels = await asyncio.to_thread(_labels, request, found)
    if instance.state == "running" and "KubernetesPodOperator" in found.operator:
        own = await pod.of_operator(labels, config.load().tasks.namespaces)
        if own is not None:
            return own
    namespace = conf.get_mandatory_value("kubernetes_executor", "namespace")
    return await pod.of_worker(labels, namespace)


def _labels(request: Request, found: Found) -> Mapping[str, str]:
    """By which Airflow marks the pods of a try: a worker pod, and one that a KubernetesPodOperator has made."""
    # It imports the Kubernetes client, which takes seconds.
    from airflow.providers.cncf.kubernetes.pod_generator import make_safe_label_value

    instance, run = found.facts.instance, found.facts.run
    names = {"dag_id": request.dag_id, "task_id": request.task_id, "run_id": run.id}
    names["try_number"] = str(instance.try_number)
    if instance.map_index >= 0:
        names["map_index"] = str(instance.map_index)
    return {name: make_safe_label_value(value) for name, value in names.items()}
