"""Pydantic's validators of the task SDK, built before the fork.

Each process of Airflow's task runner builds its own: of messages twice, and of a field's value for each templated field
of the task (airflow.sdk.execution_time.comms, ``CommsDecoder``; task_runner, ``_serialize_rendered_fields``). For a
task of KubernetesPodOperator that is a tenth of the processor time of its phases.
"""

from __future__ import annotations

from functools import cache

from airflow.sdk.execution_time import comms, task_runner
from pydantic import JsonValue, TypeAdapter

#: A validator has no state of its own.
_validator = cache(TypeAdapter)


def build() -> None:
    """Build them, for all processes that are forked from this one; a second call changes nothing."""
    for module in (comms, task_runner):
        module.TypeAdapter = _validator
    for kind in (comms.ToTask, task_runner.StartupDetails, JsonValue):
        _validator(kind)
