"""What S3 has of a try that failed: its evidence, and the last error in its log."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from typing import Any

from airflow.logging_config import get_remote_task_log
from airflow.providers.amazon.aws.log.s3_task_handler import S3RemoteLogIO
from botocore.exceptions import BotoCoreError, ClientError

log = logging.getLogger(__name__)

#: Bytes of the end of a log that are looked at for an error.
_END = 64 * 1024
#: Objects of one try's log at most that are looked at, the newest first.
_OBJECTS = 3
_ERRORS = ("error", "critical")


def evidence(log_path: str) -> dict[str, Any] | None:
    """The evidence beside the log at ``log_path``; None where there is none, or S3 does not answer."""
    body = _get(f"{log_path.removesuffix('.log')}.evidence.json")
    if body is None:
        return None
    try:
        return json.loads(body)
    except ValueError as error:
        log.warning("The evidence beside %s cannot be read: %s", log_path, error)
        return None


def last_error(log_path: str) -> str:
    """The last error in the log at ``log_path``, in one line; empty where there is none, or S3 does not answer."""
    store = _store()
    if store is None:
        return ""
    try:
        bucket, prefix = store.hook.parse_s3_url(os.path.join(store.remote_base, log_path))
        found = store.hook.get_conn().list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents") or []
    except (BotoCoreError, ClientError) as error:
        log.warning("The log at %s cannot be looked for: %s", log_path, error)
        return ""
    newest = sorted(found, key=lambda one: one["LastModified"], reverse=True)[:_OBJECTS]
    ends = (_get(f"{log_path}{one['Key'].removeprefix(prefix)}", Range=f"bytes=-{_END}") for one in newest)
    return next(
        (error for end in ends if end and (error := _last_error(end.decode(errors="replace").splitlines()))), ""
    )


def _last_error(lines: Iterable[str]) -> str:
    """Of a log as Airflow writes it: an exception's own words rather than that there was one."""
    last = ""
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if not isinstance(said, dict) or said.get("level") not in _ERRORS:
            continue
        raised = said.get("error_detail") or [{}]
        kind, value = raised[0].get("exc_type"), raised[0].get("exc_value")
        last = f"{kind}: {value}" if kind else str(said.get("event") or last)
    return last


def _store() -> S3RemoteLogIO | None:
    """Where logs are uploaded; None where they are not, or not to S3."""
    found = get_remote_task_log()
    return found if isinstance(found, S3RemoteLogIO) else None


def _get(path: str, **more: str) -> bytes | None:
    store = _store()
    if store is None:
        return None
    try:
        bucket, key = store.hook.parse_s3_url(os.path.join(store.remote_base, path))
        return store.hook.get_conn().get_object(Bucket=bucket, Key=key, **more)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchKey", "NotFound"):
            log.warning("%s cannot be read: %s", path, error)
    except BotoCoreError as error:
        log.warning("%s cannot be read: %s", path, error)
    return None
