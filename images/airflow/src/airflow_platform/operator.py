"""What a KubernetesPodOperator does in the launcher: create its pod, or find it, and defer to the pod trigger.

`pod_task` makes a class that is the stock operator in all but that. The task's other phase, where it needs one, is the
stock operator's ``trigger_reentry``: it reads the XCom, deletes the pod, runs the callbacks, fails, skips.

A pod has one name for each try, made of the task instance's id, so that a launch that is repeated finds what it created
before. A later try finds the pod of an earlier one by its labels, and takes it where the earlier try was lost rather
than ended: then nothing runs twice.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from types import MethodType
from typing import Any, NoReturn

import psutil
import structlog
from airflow.exceptions import AirflowException
from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import KubernetesApiException, generic_api_retry
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.utils.pod_manager import (
    EMPTY_XCOM_RESULT,
    OnFinishAction,
    PodCommandException,
    PodNotFoundException,
)
from airflow.providers.cncf.kubernetes.utils.xcom_sidecar import PodDefaults
from airflow.providers.common.compat.sdk import XCOM_RETURN_KEY
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, AirflowTaskTimeout
from airflow.sdk.execution_time.callback_runner import create_executable_runner
from airflow.sdk.execution_time.context import context_get_outlet_events
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance, _run_task_state_change_callbacks
from airflow.sdk.listener import get_listener_manager
from kubernetes.client import ApiClient, ApiException
from kubernetes.client import models as k8s
from tenacity import stop_after_attempt
from websocket import WebSocketException

from airflow_platform import config, evidence, finisher, launch, masks, memory, pod_status, refusal, task_pod
from airflow_platform.attempt import Attempt
from airflow_platform.cluster import ClusterRef
from airflow_platform.diagnosis import Verdict, diagnose
from airflow_platform.diagnosis.crowd import POOL_ANNOTATION
from airflow_platform.diagnosis.quantity import Amounts
from airflow_platform.diagnosis.quota import Quota, counted
from airflow_platform.diagnosis.refused import exceeded, quota_full
from airflow_platform.full_quota import FullQuota
from airflow_platform.trigger import VERDICT, PodTrigger, out_of_time
from airflow_platform.waiting import WaitTrigger

#: Annotations by which a launch knows the pod of its own task instance.
TASK_INSTANCE = "airflow-platform/task-instance"
MAX_TRIES = "airflow-platform/max-tries"
#: Key of the XCom by which a second phase notes that the task has left none.
NO_XCOM = "platform_no_xcom"

#: Of a Pod's name, as its host's name (RFC 1123).
_NAME_LENGTH = 63
#: Seconds that Airflow waits beyond the trigger's own deadline before it fails the task by itself.
_GRACE = 120
#: How often a pod is asked for in a few seconds, where the API server does not answer, before its task waits.
_AT_FIRST = 3
#: Seconds for which a process is new: its phase is taken over after half a minute without a word at the earliest.
_NEW = 10
#: Seconds in which a pod whose sidecar was told to end is seen to have ended.
_SIDECAR_ENDS = 10
#: Seconds after which a pod is tried again at the earliest whose name is not free yet.
_NOT_FREE = 2

#: The cause of a verdict on a pod that a quota has refused and may take later.
_QUOTA_FULL = "quota-full"

#: Phases of a pod that has ended.
_OVER = {"Succeeded", "Failed"}

#: States of a task instance after which its pod has nothing more to do: a person has ended it, or it was cleared.
_KILLED = {"success", "failed", "skipped", "removed", "upstream_failed", "restarting"}


@cache
def pod_task(operator: type[KubernetesPodOperator]) -> type[KubernetesPodOperator]:
    """The class of tasks of ``operator`` that are launched by the platform; by name and module still ``operator``."""
    names = {name: getattr(operator, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(operator)(operator.__name__, (PodTask, operator), names)


class PodTask(KubernetesPodOperator):
    """The phases of a task whose pod the trigger follows."""

    #: This launch, and what it knows of those before it in the same try.
    _attempt = Attempt()
    #: Whether the pod alone has the XCom.
    _unstored = False
    #: Whether this phase has found the pod, and asked it for the XCom.
    _asked = False
    #: What of the task is called before it runs, where this phase resumes: not again, unless it begins anew.
    _called_before: tuple[list[Callable], list[Callable]] = ([], [])

    def execute_sync(self, context: Any) -> None:
        """Launch: ``deferrable`` or not, the task waits in the triggerer."""
        self._launch(context)

    def execute_async(self, context: Any) -> None:
        """Launch."""
        self._launch(context)

    def trigger_reentry(self, context: Any, event: dict[str, Any]) -> Any:
        """Finish, or launch again where the pod could not be created or was gone before it ran.

        Raises:
            AirflowException: the pod failed, with what the trigger saw.
            AirflowTaskTimeout: ``execution_timeout`` has passed.
            TaskDeferred: the pod is followed on, or it could not be read, and the task is finished later.
            ApiException, HTTPError: it could not be read for too long.
        """
        self._this_instance = context["ti"]
        self._attempt = Attempt.of(event.get("attempt"))
        if self._attempt.instance not in ("", str(context["ti"].id)):
            return self._begin_anew(context)
        try:
            return self._resumed(context, event)
        except refusal.NO_ANSWER as error:
            self._finish_later(error, context, event)

    def _begin_anew(self, context: Any) -> Any:
        """Launch, as the event is one for a try before this.

        Airflow does not forget how a task goes on that is cleared while such a phase runs, nor its XComs:
        ``airflow.models.taskinstance.clear_task_instances``.
        """
        self._attempt = Attempt()
        if self.do_xcom_push and self._stored_xcom() is not None:
            self._this_instance.xcom_push(key=XCOM_RETURN_KEY, value=None)
        if self.do_xcom_push and self._had_none():
            self._this_instance.xcom_push(key=NO_XCOM, value=False)
        # As `airflow.sdk.execution_time.task_runner._execute_task` does.
        before, self.on_execute_callback = self._called_before
        log = structlog.get_logger(logger_name="task")
        for call in before:
            create_executable_runner(call, context_get_outlet_events(context), logger=log).run(context)
        _run_task_state_change_callbacks(self, "on_execute_callback", context, log)
        return self.execute(context)

    def _resumed(self, context: Any, event: dict[str, Any]) -> Any:
        match event["status"]:
            case "relaunch":
                return self.execute(context)
            case "timeout" if event.get("waited"):
                self._time_is_over(event["message"], event["verdict"], context)
            case "timeout":
                raise AirflowTaskTimeout(self._told(event["message"], event))
            case "stopped":
                raise AirflowException(self._told(event["message"], event))
            case "gone":
                raise PodNotFoundException(self._told(event["message"], event))
            case "error" if pod := self._that_goes_on(event):
                self._follow_again(pod, event, context)
        if event["status"] != "error":
            # The trigger has read the log to its end.
            self.get_logs = False
        try:
            result = super().trigger_reentry(context, event)
            if result is None and self.do_xcom_push and self.pod is None and not self._asked:
                # The pod went in a phase before this one, whose end was not stored; or by itself, as with its node.
                result = self._stored_xcom()
                if result is None and not self._had_none():
                    # For the stock operator that is a success: what comes after would work with nothing.
                    raise PodNotFoundException(self._told(f"Pod {event['name']} went before its XCom was read.", event))
            return result
        except (AirflowSkipException, KubernetesApiException):
            raise
        except AirflowException as error:
            if event["status"] not in ("failed", "error"):
                raise
            code = (event.get("verdict") or {}).get("exit_code")
            if isinstance(error, PodNotFoundException) and code is not None and code in self.skip_on_exit_code:
                # The pod went in a phase before this one, whose end was not stored.
                raise AirflowSkipException(f"Pod {event['name']} ended with exit code {code}: skipped") from None
            raise type(error)(self._told(event["message"], event)) from None

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """As Airflow's; where the trigger itself failed, the pod goes first."""
        if next_method == "__fail__":
            self._delete_pods_of(context)
        return super().resume_execution(next_method, next_kwargs, context)

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        """As the operator's.

        Airflow calls this at the start of each phase, of a mapped task too, and then what is to be called before the
        task runs. In a phase that resumes, that has been.
        """
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        server = getattr(context["ti"], "_ti_context_from_server", None)
        if parent is self and server and server.next_method:
            before = [call for call in (self._pre_execute_hook, self.pre_execute) if call is not None]
            self._called_before = before, self.on_execute_callback
            self.on_execute_callback, self._pre_execute_hook = [], None
            self.pre_execute = MethodType(BaseOperator.pre_execute, self)

    def build_pod_request_obj(self, context: Any = None, *, dry_run: bool = False) -> k8s.V1Pod:
        """The stock operator's pod, under the name of its task instance's try."""
        if context is None:
            return super().build_pod_request_obj(context, dry_run=dry_run)
        wants_suffix, self.random_name_suffix = self.random_name_suffix, False
        try:
            pod = super().build_pod_request_obj(context, dry_run=dry_run)
        finally:
            self.random_name_suffix = wants_suffix
        instance = context["ti"]
        if wants_suffix:
            pod.metadata.name = pod_name(pod.metadata.name, str(instance.id))
        pod.metadata.annotations = {
            **(pod.metadata.annotations or {}),
            TASK_INSTANCE: str(instance.id),
            MAX_TRIES: str(instance.max_tries),
            finisher.HOME: finisher.home(),
            finisher.OWNER: finisher.owner(
                instance, self.base_container_name, self.on_finish_action.value, self.on_kill_action.value
            ),
        }
        return pod

    def invoke_defer_method(self, last_log_time: Any = None, context: Any = None) -> None:
        """Defer to the pod trigger.

        Raises:
            TaskDeferred: always.
        """
        deadline = self._deadline(context)
        self.defer(
            trigger=PodTrigger(
                name=self.pod.metadata.name,
                namespace=self.pod.metadata.namespace,
                cluster=self._cluster_ref(),
                base=self.base_container_name,
                get_logs=self.get_logs,
                container_logs=_names(self.container_logs),
                init_container_logs=_names(self.init_container_logs),
                prefix=self.container_name_log_prefix_enabled,
                schedule_timeout=launch.schedule_timeout(self, _pool(self.pod)),
                startup_timeout=self.startup_timeout_seconds,
                execution_deadline=deadline,
                on_finish_action=self.on_finish_action.value,
                on_kill_action=self.on_kill_action.value,
                grace_period=self.termination_grace_period,
                xcom_sidecar=self.do_xcom_push,
                skip_on_exit_code=list(self.skip_on_exit_code),
                events_on_startup=self.log_events_on_startup,
                events_on_failure=self.log_events_on_failure,
                pod_on_failure=self.log_pod_spec_on_failure,
                ends=not self._needs_phase(),
                redefer_count=(self.trigger_kwargs or {}).get("_redefer_count", 0),
                uid=self.pod.metadata.uid,
                attempt=self._attempt.as_dict(),
                infrastructure_retries=launch.infrastructure_retries(self),
                retry_deleted=config.load().tasks.retry_deleted,
                grows=self._grows(self.pod),
            ),
            method_name="trigger_reentry",
            timeout=timedelta(seconds=max(deadline - time.time(), 0) + _GRACE) if deadline else None,
        )

    def extract_xcom(self, pod: k8s.V1Pod, *, ignore_kill_failure: bool = True) -> Any:
        """As the operator's; but the value is stored before what holds it ends, as this phase may be repeated."""
        self._asked, manager = True, self.pod_manager
        try:
            if not manager.container_is_running(pod, PodDefaults.SIDECAR_CONTAINER_NAME):
                if (stored := self._stored_xcom()) is not None or self._had_none():
                    return stored
                return super().extract_xcom(pod, ignore_kill_failure=ignore_kill_failure)
            text = manager.extract_xcom_json(pod)
            value = None if text.rstrip() == EMPTY_XCOM_RESULT else json.loads(text)
        except (*refusal.NO_ANSWER, WebSocketException, OSError) as error:
            if pod_status.exit_code(_as_dict(pod), self.base_container_name) != 0:
                # It fails anyhow, and the next try is not to find this one's pod.
                return super().extract_xcom(pod, ignore_kill_failure=ignore_kill_failure)
            # The pod alone has the value.
            self._unstored = True
            if isinstance(error, refusal.NO_ANSWER):
                raise
            raise ApiException(status=0, reason=f"{type(error).__name__}: {error}") from error
        except Exception:
            # It fails again, in the operator's words, and ends the sidecar.
            return super().extract_xcom(pod, ignore_kill_failure=ignore_kill_failure)
        self._unstored = True
        if value is None:
            self._this_instance.xcom_push(key=NO_XCOM, value=True)
        else:
            self._this_instance.xcom_push(key=XCOM_RETURN_KEY, value=value)
        self._unstored = False
        try:
            manager.extract_xcom_kill(pod)
        except (PodCommandException, ApiException) as error:
            if not ignore_kill_failure:
                raise
            self.log.warning("The XCom sidecar of pod %s runs on: %s", pod.metadata.name, error)
        return value

    def _stored_xcom(self) -> Any:
        """What a phase before this one has read; None: nothing."""
        instance = self._this_instance
        # Without an index, Airflow looks for those of all.
        return instance.xcom_pull(map_indexes=instance.map_index)

    def _had_none(self) -> bool:
        """Whether a phase before this one has found that the task has left no XCom."""
        instance = self._this_instance
        return bool(instance.xcom_pull(key=NO_XCOM, map_indexes=instance.map_index))

    def patch_already_checked(self, pod: k8s.V1Pod, *, reraise: bool = True) -> None:
        """As the operator's; but a pod that alone has the XCom is not done with."""
        if not self._unstored:
            super().patch_already_checked(pod, reraise=reraise)

    def process_pod_deletion(self, pod: k8s.V1Pod, *, reraise: bool = True) -> bool:
        """As the operator's; but a pod that failed may be kept, for somebody to look at it or for the next try."""
        if self._unstored:
            self.log.warning("Pod %s stays, as its XCom could not be stored", pod.metadata.name)
            return False
        if pod is not None and self.on_finish_action == OnFinishAction.DELETE_POD:
            found = self._at_its_end(pod)
            name = found["metadata"]["name"]
            if until := finisher.kept_until(found):
                self.log.info("Pod %s is kept until %s UTC (tasks.keepFailedPods)", name, f"{until:%Y-%m-%d %H:%M:%S}")
                return False
            needed = self._grows(pod) and memory.is_remembered(found, self.base_container_name)
            if needed and not self._is_of_another_try(pod):
                self.log.info("Pod %s stays until the next try has begun: by it, that gets more memory", name)
                return False
        return super().process_pod_deletion(pod, reraise=reraise)

    def _at_its_end(self, pod: k8s.V1Pod) -> dict[str, Any]:
        """The pod; where it has failed and is to be kept, once its XCom sidecar, which was told to end, has ended."""
        found, deadline = _as_dict(pod), time.monotonic() + _SIDECAR_ENDS
        keeps = config.load().tasks.keep_failed_pods and self.do_xcom_push
        keeps = keeps and pod_status.exit_code(found, self.base_container_name) not in (None, 0)
        while keeps and pod_status.phase(found) == "Running" and time.monotonic() < deadline:
            time.sleep(0.5)
            try:
                found = _as_dict(self.pod_manager.read_pod(pod))
            except KubernetesApiException:
                break
        return found

    def on_kill(self) -> None:
        """Delete the pod where the task has run out of time, or a person has ended it. Else a later try takes it."""
        # Airflow calls this both for a signal and where it handles a timeout.
        timed_out = isinstance(sys.exception(), AirflowTaskTimeout)
        if self.pod is not None and (timed_out or self._killed_by_a_person()):
            super().on_kill()
        else:
            self._killed = True

    def _launch(self, context: Any) -> None:
        instance = self._this_instance = context["ti"]
        self._attempt = replace(self._attempt, instance=str(instance.id))
        if reason := launch.refused(self):
            raise AirflowFailException(
                f"The arguments that came with the run cannot be kept: {reason}. "
                "Give the task executor_config={'launch': 'worker'}."
            )
        if self.pod_request_obj is None:
            self.pod_request_obj = self.build_pod_request_obj(context)
        request = self.pod_request_obj
        request.metadata.annotations = {**(request.metadata.annotations or {}), **masks.places(request)}
        try:
            earlier = self._pods_of(request.metadata.namespace, context) if instance.try_number > 1 else []
            self._give_memory(request, earlier)
            lost, ended = self._of_earlier_tries(earlier, context)
            self.pod = lost or self._create_or_adopt(request, context, {pod.metadata.uid for pod in ended})
            # Not before: what they say of the memory that is needed would be lost, should this phase be.
            for pod in ended:
                if pod.metadata.name != self.pod.metadata.name:  # by which they are deleted
                    self.process_pod_deletion(pod, reraise=False)
        except refusal.NO_ANSWER as error:
            self._refused(request, error, context)
        # As the stock operator: so that they are known even if what follows fails.
        instance.xcom_push(key="pod_name", value=self.pod.metadata.name)
        instance.xcom_push(key="pod_namespace", value=self.pod.metadata.namespace)
        self.invoke_defer_method(context=context)

    def _grows(self, pod: k8s.V1Pod) -> bool:
        """Whether there is another try, which gets more memory where this one runs out of it."""
        pool, instance = _pool(pod), self._this_instance
        return pool is not None and pool.out_of_memory_factor > 1 and instance.try_number <= instance.max_tries

    def _create_or_adopt(self, request: k8s.V1Pod, context: Any, ended: set[str]) -> k8s.V1Pod:
        """The pod of this launch. ``ended`` are ``uid``s of earlier tries' pods, which may have its name."""
        if not self._attempt.first:
            self._stand_behind_others(request, context)
        if pod := self._create(request, context):
            self.log.info("Pod %s: created in namespace %s", pod.metadata.name, pod.metadata.namespace)
            if task_pod.is_past_its_queue(pod):
                self.log.warning(
                    "Pod %s counts in no quota: Kueue leaves namespace %s out; have it added to "
                    "managedJobsNamespaceSelector in Kueue's configuration.",
                    pod.metadata.name,
                    pod.metadata.namespace,
                )
            return pod
        there = self._read(request.metadata.name, request.metadata.namespace)
        over = {self._attempt.over, *ended}
        if there is not None and self._is_of_another_try(there) and finisher.makes_room(_as_dict(there), context["ti"]):
            over.add(there.metadata.uid)
        if there is not None and there.metadata.uid in over and there.status.phase in _OVER:
            # It was taken away, or of another try or run, and has ended: its name is for the new one.
            self._delete(there)
            if pod := self._create(request, context):
                self.log.info("Pod %s: created again in namespace %s", pod.metadata.name, pod.metadata.namespace)
                return pod
            there = self._read(request.metadata.name, request.metadata.namespace)
        others = there is not None and self._is_of_another_try(there)
        to_go = others and finisher.is_to_go(_as_dict(there))
        if there is None or there.metadata.deletion_timestamp or there.metadata.uid in over or to_go:
            self._wait(
                context,
                request,
                f"Waiting until pod {request.metadata.name}, which is being deleted, is gone.",
                f"name-taken {request.metadata.name}",
                _NOT_FREE,
                gone=there.metadata.uid if there else None,
            )
        if others:
            raise AirflowException(
                f"There is a pod {request.metadata.name} in namespace {request.metadata.namespace} already, and it is "
                "not this task's. Set random_name_suffix=True, or give another name."
            )
        self.log.info("Pod %s: already created by this try", there.metadata.name)
        return there

    def _create(self, request: k8s.V1Pod, context: Any) -> k8s.V1Pod | None:
        """The new pod; None where there is one of that name."""

        def create(request: k8s.V1Pod) -> k8s.V1Pod | None:
            self._give_way(request, context)
            return self._create_once(request)

        # One that waits has its turn again, and does not hold a process of the launcher until then.
        pod = create(request) if self._attempt.refused else _a_few_times(create)(request)
        if pod and self._attempt.waits_for.startswith(_QUOTA_FULL):
            self._full_quota(request).let_in()
        return pod

    def _give_way(self, request: k8s.V1Pod, context: Any) -> None:
        """Go no further where another launcher has taken this phase over, as this one stood still.

        That one's pod may have come and gone by now, and one that is created here would be a second. Nobody takes over
        what has just begun.

        Raises:
            TaskDeferred: it is so; the API server does not take that from this phase.
        """
        if time.time() - psutil.Process().create_time() > _NEW and self._states() != {"running"}:
            self._wait(context, request, "Another launcher has taken the task over.", "taken-over", _NOT_FREE)

    def _create_once(self, request: k8s.V1Pod) -> k8s.V1Pod | None:
        try:
            return self.client.create_namespaced_pod(request.metadata.namespace, request)
        except ApiException as error:
            # Other conflicts (two pods counted by one quota at once) pass, and are retried.
            if error.status == 409 and "AlreadyExists" in (error.body or ""):
                return None
            raise

    def _delete(self, pod: k8s.V1Pod) -> None:
        """Delete this pod, and none that has its name by now."""
        metadata = pod.metadata
        body = k8s.V1DeleteOptions(preconditions=k8s.V1Preconditions(uid=metadata.uid))
        try:
            self.client.delete_namespaced_pod(metadata.name, metadata.namespace, body=body)
        except ApiException as error:
            if error.status not in (404, 409):
                raise

    @generic_api_retry
    def _read(self, name: str, namespace: str) -> k8s.V1Pod | None:
        try:
            return self.client.read_namespaced_pod(name, namespace)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def _of_earlier_tries(self, pods: list[k8s.V1Pod], context: Any) -> tuple[k8s.V1Pod | None, list[k8s.V1Pod]]:
        """The pod of a try that was lost (its launcher or scheduler died), if there is one; and those that have ended.

        Pods of tries that ended (the task failed, or was cleared: then it may try more often than before) and still run
        go at once; but for those of a task that was cleared and keeps them (``on_kill_action``). So do those of lost
        tries where the task does not take them over (``durable=False``): two would run at once.
        """
        instance = context["ti"]
        found, over = None, []
        for pod in pods:
            annotations, labels = pod.metadata.annotations or {}, pod.metadata.labels or {}
            if not self._is_of_another_try(pod):
                continue
            cleared = annotations.get(MAX_TRIES) != str(instance.max_tries)
            ended = labels.get(self.POD_CHECKED_KEY) == "True" or cleared or pod.metadata.uid == self._attempt.over
            if pod.metadata.deletion_timestamp:
                continue
            if not ended and found is None and self.durable:
                found = pod
            elif cleared and finisher.outlives_its_task(_as_dict(pod)):
                self.log.info("Pod %s of a try that was cleared: it is kept (on_kill_action)", pod.metadata.name)
                self.patch_already_checked(pod, reraise=False)
            elif not ended or pod.status.phase in ("Pending", "Running"):
                self.log.info("Pod %s of an earlier try: deleting it", pod.metadata.name)
                self.pod_manager.delete_pod(pod)
            else:
                over.append(pod)
        if found is not None:
            self.log.info("Pod %s: taken over from a try that was lost", found.metadata.name)
        return found, over

    def _is_of_another_try(self, pod: k8s.V1Pod) -> bool:
        return (pod.metadata.annotations or {}).get(TASK_INSTANCE) != str(self._this_instance.id)

    def _give_memory(self, request: k8s.V1Pod, earlier: list[k8s.V1Pod]) -> None:
        """Give the pod more memory, where the try before ran out of it and the task's node pool has more."""
        base = self.base_container_name
        if not self._attempt.memory and earlier:
            pods = [_as_dict(pod) for pod in earlier]
            self._attempt = replace(self._attempt, memory=memory.for_next(pods, base, _pool(request)))
        if self._attempt.memory and (had := memory.give(request, base, self._attempt.memory)):
            now = memory.quantity(self._attempt.memory)
            self.log.info("A try before ran out of memory: container %s may use %s now, and not %s", base, now, had)

    @generic_api_retry
    def _pods_of(self, namespace: str, context: Any) -> list[k8s.V1Pod]:
        """This task instance's pods of all tries, the newest first; none of another Airflow that has the same DAG."""
        # Not by the labels that the task gives, which may be others with each try.
        labels = self._get_ti_pod_labels(context, include_try_number=False)
        selector = ",".join([*(f"{name}={value}" for name, value in sorted(labels.items())), "!airflow-worker"])
        found = self.client.list_namespaced_pod(namespace, label_selector=selector).items
        pods = [pod for pod in found if not finisher.is_of_another(_as_dict(pod))]
        return sorted(pods, key=lambda pod: pod.metadata.creation_timestamp, reverse=True)

    def _that_goes_on(self, event: dict[str, Any]) -> k8s.V1Pod | None:
        """The pod, where the task's work has yet to end; as the trigger has it, a sidecar's may be part of that."""
        pod = self._read(event["name"], event["namespace"])
        over = pod is None or pod_status.ended(_as_dict(pod), self.base_container_name, self.do_xcom_push)
        return None if over else pod

    def _follow_again(self, pod: k8s.V1Pod, event: dict[str, Any], context: Any) -> NoReturn:
        """Defer again where the trigger has failed. The stock operator may wait here for as long as a sidecar runs.

        Raises:
            TaskDeferred: the pod is followed again.
            AirflowException: the cluster gave no answer for too long, or the trigger has failed too often.
        """
        if event.get("outage"):
            # The pod stays, as nothing is wrong with it: a next try takes it over, or the triggerer deletes it once it
            # sees it again.
            raise AirflowException(event["message"])
        failed = event.get("_redefer_count", 0)
        if failed >= self.MAX_REDEFER_ATTEMPTS:
            self._delete_pods_of(context)
            raise AirflowException(event["message"])
        self.log.warning("%s It is followed again (%d of %d).", event["message"], failed + 1, self.MAX_REDEFER_ATTEMPTS)
        self.pod = pod
        # What it has waited for is over.
        self._attempt = replace(self._attempt, waits_for="", since=None, refused=0)
        self.trigger_kwargs = {**(self.trigger_kwargs or {}), "_redefer_count": failed + 1}
        self.invoke_defer_method(context=context)

    def _delete_pods_of(self, context: Any) -> None:
        try:
            request = self.build_pod_request_obj(context)
            for pod in self._pods_of(request.metadata.namespace, context):
                if (pod.metadata.labels or {}).get(self.POD_CHECKED_KEY) != "True":
                    self.pod_manager.delete_pod(pod)
        except Exception as error:
            self.log.warning("The task's pod could not be deleted: %s", error)

    def _refused(self, request: k8s.V1Pod, error: Exception, context: Any) -> NoReturn:
        """Wait where it is worth it, and fail where not, in the words of the diagnosis.

        Raises:
            TaskDeferred: the task waits.
            AirflowException: it does not, or has for too long.
        """
        answer, now, before = refusal.read(error), time.time(), self._attempt
        pod = _as_dict(request)
        verdict = diagnose(pod, base=self.base_container_name, refusal=answer, now=now)
        what = f"{verdict.cause} {verdict.object}"
        since = before.since if before.since and before.waits_for == what else now
        refused = before.refused + 1 if before.waits_for == what else 1
        # Of a full quota, the sentence has all that the answer has.
        if refused == 1 and verdict.cause != _QUOTA_FULL:
            self.log.info(refusal.in_its_words(answer))
        budget = refusal.budget(verdict)
        if budget is not None and now - since >= budget:
            self._fail(pod, verdict, context)
        if verdict.cause == _QUOTA_FULL and (full := exceeded(answer.message)):
            name, requested, used, hard = full
            quota = Quota(name=name, namespace=request.metadata.namespace, used=used, hard=hard)
            self._full_quota(request).refused(quota)
            self._wait_for_quota(context, request, quota, requested, refusal.pause(verdict, refused, now - since))
        more = f" It is tried again for {budget / 60:.0f} min." if verdict.final else ""
        self._wait(
            context,
            request,
            verdict.sentence + more,
            what,
            refusal.pause(verdict, refused, now - since),
            verdict=verdict.as_dict(),
        )

    def _finish_later(self, error: Exception, context: Any, event: dict[str, Any]) -> NoReturn:
        """Come back to what the trigger has seen where the pod cannot be read now; it stays until then.

        Raises:
            TaskDeferred: the task waits.
            Exception: the error, where that has lasted.
        """
        answer, name = refusal.read(error), event.get("name")
        if name is None:
            raise error  # it has no pod yet
        attempt = self._attempt.refused_by(f"not-finished {name}", time.time())
        budget = refusal.budget_of_reading(answer)
        if time.time() - attempt.since >= budget:
            raise error
        message = f"Pod {name} cannot be read now, and its task is finished once it can; for {budget / 60:.0f} min."
        if attempt.refused == 1:
            self.log.warning(f"{message} {refusal.in_its_words(answer)}")
        self.defer(
            trigger=WaitTrigger(
                cluster=self._cluster_ref(),
                namespace=event["namespace"],
                name=name,
                reason=message,
                seconds=refusal.pause_of_reading(time.time() - attempt.since),
                priority=self.priority_weight,
                attempt=attempt.as_dict(),
                then={key: value for key, value in event.items() if key != "attempt"},
            ),
            method_name="trigger_reentry",
        )

    def _full_quota(self, request: k8s.V1Pod) -> FullQuota:
        return FullQuota(self._cluster_ref(), request.metadata.namespace, request.spec.priority_class_name)

    def _stand_behind_others(self, request: k8s.V1Pod, context: Any) -> None:
        """Wait where others wait for the same quota, without a try; a pod that is there already is found at its turn.

        Not where the pod can never be had, or asks nothing of what has run out: the API server says so at once.
        """
        quota = self._full_quota(request).now()
        if quota is None:
            return
        all_of_it = counted(_as_dict(request))
        needed = {name: amount for name, amount in all_of_it.items() if amount and name in quota.hard}
        if needed and all(amount <= quota.hard[name] for name, amount in needed.items()):
            self._wait_for_quota(context, request, quota, needed, 1)

    def _wait_for_quota(
        self, context: Any, request: k8s.V1Pod, quota: Quota, requested: Amounts, seconds: float
    ) -> NoReturn:
        """As `_wait`, for room in a quota that has none for what is ``requested`` of it."""
        verdict = quota_full(quota, requested)
        self._wait(
            context,
            request,
            verdict.sentence,
            f"{verdict.cause} {verdict.object}",
            seconds,
            quota=quota.name,
            requested={name: str(amount) for name, amount in requested.items()},
            verdict=verdict.as_dict(),
        )

    def _fail(self, pod: dict[str, Any], verdict: Verdict, context: Any) -> NoReturn:
        """Fail with the verdict, which is kept as evidence."""
        self._keep_evidence(pod, verdict, verdict.sentence, context)
        raise AirflowException(self._told(verdict.sentence, {"verdict": verdict.as_dict()})) from None

    def _time_is_over(self, message: str, verdict: dict[str, Any] | None, context: Any) -> NoReturn:
        """Fail a task that has waited for its pod, with the verdict on why it had none."""
        found = Verdict(**verdict) if verdict else out_of_time(message, self.task_id)
        self._keep_evidence(None, found, message, context)
        raise AirflowTaskTimeout(self._told(message, {"verdict": replace(found, sentence=message).as_dict()}))

    def _keep_evidence(self, pod: dict[str, Any] | None, verdict: Verdict, reason: str, context: Any) -> None:
        namespace = pod["metadata"]["namespace"] if pod else self.namespace or ""
        evidence.keep(str(context["ti"].id), evidence.record(pod, verdict, namespace, reason=reason))

    def _told(self, why: str, event: Mapping[str, Any]) -> str:
        """The text of the exception, which callbacks and mails have: why, where to read more, and the log's last lines.

        The verdict goes to where the REST API has it.
        """
        instance = self._this_instance
        if verdict := event.get("verdict"):
            instance.xcom_push(key=VERDICT, value=verdict)
        where = {"Log": instance.log_url, "Evidence": evidence.address(instance)}
        text = [why, *(f"{name}: {address}" for name, address in where.items() if address)]
        if lines := event.get("last_lines"):
            text += ["Last lines:", *lines]
        return "\n".join(text)

    def _wait(
        self, context: Any, request: k8s.V1Pod, message: str, what: str, seconds: float, **until: Any
    ) -> NoReturn:
        """Say why, once, and defer until it is worth another try.

        Args:
            context: the task's.
            request: the pod that is to be created.
            message: what a person reads.
            what: of it, what makes it another message.
            seconds: until the next try, at least.
            until: what it waits for, as `airflow_platform.waiting.WaitTrigger` has it.

        Raises:
            TaskDeferred: always but for
            AirflowTaskTimeout: no time is left.
        """
        now, before, deadline = time.time(), self._attempt, self._deadline(context)
        if deadline and deadline < now:
            self._time_is_over(f"execution_timeout has passed. {message}", until.get("verdict"), context)
        attempt = before.refused_by(what, now)
        if attempt.refused == 1:
            self.log.info(message)
        self.defer(
            trigger=WaitTrigger(
                cluster=self._cluster_ref(),
                namespace=request.metadata.namespace,
                name=request.metadata.name,
                reason=message,
                seconds=seconds,
                priority=self.priority_weight,
                deadline=deadline,
                attempt=attempt.as_dict(),
                **until,
            ),
            method_name="trigger_reentry",
            timeout=timedelta(seconds=max(deadline - now, 0) + _GRACE) if deadline else None,
        )

    def _deadline(self, context: Any) -> float | None:
        """Seconds since the epoch, when the task has run for its ``execution_timeout``."""
        if self.execution_timeout is None:
            return None
        return context["ti"].start_date.timestamp() + self.execution_timeout.total_seconds()

    def _killed_by_a_person(self) -> bool:
        """Whether the task's state, asked now, says that it is to stop.

        Not where Airflow or its database is away, and not where another launcher has the task: no pod goes by mistake.
        """
        found: set[str] = set()
        # In a thread: the signal that brought us here may have interrupted a request that holds the line.
        thread = threading.Thread(target=lambda: found.update(self._states()), daemon=True)
        thread.start()
        thread.join(timeout=5)
        return not found.isdisjoint(_KILLED)

    def _states(self) -> set[str]:
        """The task instance's state, asked now; nothing where there is no such instance."""
        instance = self._this_instance
        of_runs = RuntimeTaskInstance.get_task_states(
            dag_id=instance.dag_id,
            task_ids=[instance.task_id],
            run_ids=[instance.run_id],
            map_index=instance.map_index,
        )
        return {str(state) for state in of_runs.get(instance.run_id, {}).values()}

    def _cluster_ref(self) -> ClusterRef:
        return ClusterRef(conn_id=self.kubernetes_conn_id, in_cluster=self.in_cluster, context=self.cluster_context)

    def _needs_phase(self) -> bool:
        """Whether the task's end needs a phase in the launcher: where not, the trigger ends it at once."""
        return bool(
            self.do_xcom_push
            or self.has_on_success_callback
            or self.has_on_failure_callback
            or self.has_on_retry_callback
            or self.has_on_skipped_callback
            or (self.email and (self.email_on_failure or self.email_on_retry))
            or self.outlets
            or getattr(self.dag, "fail_fast", False)
            or self.retry_policy
            or self._post_execute_hook
            or getattr(self.post_execute, "__func__", None) is not BaseOperator.post_execute
            or self.returns_dag_result
            or get_listener_manager().has_listeners
            # Without an XCom, Airflow's task runner fails it: those would have nothing to be mapped over. It walks the
            # DAG, so it is asked last.
            or next(self.iter_mapped_dependants(), None) is not None
        )


def pod_name(base: str, instance: str) -> str:
    """``base`` with eight hexadecimal digits of the task instance's id, at most 63 characters."""
    digits = hashlib.sha256(instance.encode()).hexdigest()[:8]
    return f"{base[: _NAME_LENGTH - 9].strip('-.')}-{digits}"


def _a_few_times(call: Callable[[k8s.V1Pod], k8s.V1Pod | None]) -> Callable[[k8s.V1Pod], k8s.V1Pod | None]:
    """As the provider asks again where the API server is away or busy, but not for so long that nobody is told."""
    return generic_api_retry(call).retry_with(stop=stop_after_attempt(_AT_FIRST))


def _as_dict(pod: k8s.V1Pod) -> dict[str, Any]:
    """The pod as the Kubernetes API gives it."""
    return ApiClient().sanitize_for_serialization(pod)


def _pool(pod: k8s.V1Pod) -> config.NodePool | None:
    return config.load().node_pool((pod.metadata.annotations or {}).get(POOL_ANNOTATION, ""))


def _names(containers: Any) -> Any:
    """Container names as JSON has them: a name, a list of names, true or null."""
    return containers if containers is None or isinstance(containers, (str, bool)) else list(containers)
