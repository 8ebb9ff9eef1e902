"""The platform's own metrics, and what all metrics go through on their way to statsd.

They are sent as Airflow's own are (``[metrics]``), and have Airflow's prefix before their names.
"""

from __future__ import annotations

import re
import socket

#: Counts pods that the reaper has deleted, as nobody else did: by ``namespace``, ``reason`` and ``dry_run``.
REAPED = "airflow_platform.pods_reaped"
#: Pods that failed and are kept for somebody to look at: by ``namespace``.
KEPT = "airflow_platform.kept_pods"
#: Tasks of a triggerer that wait: by ``cause`` (`airflow_platform.diagnosis`) and ``pod``.
WAITING = "airflow_platform.waiting_tasks"
#: The most that the event loop of a triggerer was late since the last word, in seconds: by ``pod``.
LOOP_LAG = "airflow_platform.triggerer_loop_lag_seconds"
#: Counts how often a watch of pods was interrupted: by ``namespace`` and ``status``, the API server's answer, if any.
WATCH_INTERRUPTED = "airflow_platform.watch_interruptions"
#: Counts uploads of logs that have failed.
UPLOADS_FAILED = "airflow_platform.log_uploads_failed"
#: Logs on a pod's disk that wait to be uploaded: by ``pod``.
UNSENT = "airflow_platform.unsent_logs"
#: Slots of an executor that are held for no task: by ``executor_class_name`` and ``pod``.
LEAKED = "airflow_platform.leaked_slots"
#: How long a stage of the canary's path took last, in seconds: by ``stage`` (`airflow_platform.canary`).
CANARY_STAGE = "airflow_platform.canary_stage_seconds"
#: 1 while the guard of the DAGs' repository refuses its newest commit, or fails to judge it, else 0: by ``pod``.
GUARD_REFUSES = "airflow_platform.dag_guard_refuses"

#: Which of them only go up; the others are gauges.
COUNTERS = {REAPED, WATCH_INTERRUPTED, UPLOADS_FAILED}

#: What statsd's line or Airflow's own check of it takes for something else than a name or a tag.
_UNSAFE = re.compile(r"[^A-Za-z0-9_.\-/,=]")


def safe_name(stat: str) -> str:
    """A metric's name with its tags, as ``[metrics] stat_name_handler``: a DAG may have letters that statsd has not.

    Airflow's own check drops such a metric, with a traceback in the log each time.
    """
    return _UNSAFE.sub("_", stat)


def initialize() -> None:
    """Have this process send metrics as the configuration says; a second call changes nothing.

    Airflow does it in its own processes. A metric that is sent before goes nowhere.
    """
    from airflow.sdk.configuration import conf
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

    legacy = conf.getboolean("metrics", "legacy_names_on")
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=legacy)


def pod() -> str:
    """The name of the pod that this process runs in."""
    return socket.gethostname()
