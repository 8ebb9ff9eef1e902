"""Task logs in S3, with a plain line where there is none.

Airflow's own reader, finding nothing in S3, asks the worker pod, which is gone, and shows that its address does not
answer. ``[logging] logging_config_class`` names :data:`LOGGING_CONFIG`; Airflow then takes :data:`REMOTE_TASK_LOG`
from this module (airflow._shared.logging.remote).
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG as LOGGING_CONFIG
from airflow.providers.amazon.aws.log.s3_task_handler import S3RemoteLogIO
from airflow.providers.common.compat.sdk import conf
from airflow.sdk.observability import stats
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError
from s3transfer.exceptions import RetriesExceededError

from airflow_platform import metrics, unsent
from airflow_platform.pod_log import HANDED_OVER

__all__ = ["LOGGING_CONFIG", "REMOTE_TASK_LOG", "TaskLog"]

#: States in which a try has ended: its log is in S3, or nowhere.
ENDED = {"success", "failed", "skipped", "up_for_retry", "upstream_failed", "removed"}

#: A worker uploads its log a moment after its task has ended.
UPLOAD = timedelta(seconds=20)

#: Bytes from which a log is uploaded in parts.
LARGE = 8 * 1024 * 1024

#: In the name of a trigger's log: before the number of the triggerer that wrote it, or of the trigger.
OF_TRIGGER = ".log.trigger."
#: In the name of a later phase's log, behind that of the first: before a digest of what is in it.
OF_PHASE = ".phase."

#: Bytes at the beginning of a log in which a triggerer says which trigger it starts, and at the end in which it says
#: that it follows the pod no more.
_PART = 4096
_STARTING = re.compile(rb"\(ID (\d+)\) starting")


class TaskLog(S3RemoteLogIO):
    """Airflow's log in S3; what cannot be written or read is said in one line."""

    _away_until = 0.0

    def upload(self, path: str | os.PathLike[str], ti: Any = None) -> None:
        """Upload a finished log file; one that cannot be is uploaded later (`airflow_platform.unsent`).

        It is moved aside first, as the next trigger or phase of the try may begin meanwhile, and has the same path. A
        failure never changes the task's state.

        Raises:
            OSError: it cannot be moved, or noted.
        """
        local = self.base_log_folder.joinpath(path)
        if not local.is_file():
            return
        key = self._key(local)
        # What waits for the same place was written before.
        tries = time.monotonic() >= self._away_until and not unsent.waits(self.base_log_folder, key)
        log = unsent.aside(self.base_log_folder, local, key)
        if tries and self.send(log, key):
            log.unlink()
        else:
            unsent.keep(log, key)

    def send(self, local: Path, key: str) -> bool:
        """Upload a file to its key; whether it is in S3. After a failure, `upload` does not try for some seconds."""
        address = os.path.join(self.remote_base, key)
        try:
            self._put(local, address)
        except (BotoCoreError, ClientError, S3UploadFailedError, RetriesExceededError, OSError) as error:
            self._away_until = time.monotonic() + unsent.PERIOD
            stats.incr(metrics.UPLOADS_FAILED)
            self.log.error(
                "The log of this try could not be uploaded to %s: check bucket, endpoint and credentials. Triggerer "
                "and launcher try again as long as their pod lives. The task's state is not affected. %s",
                address,
                error,
            )
            return False
        return True

    def _key(self, local: Path) -> str:
        """Where a log is to go: of a trigger, by its id. Whoever takes a pod over writes what the one before did."""
        name = local.relative_to(self.base_log_folder).as_posix()
        head, of_trigger, _ = name.rpartition(OF_TRIGGER)
        found = _STARTING.search(_bytes(local, 0)) if of_trigger else None
        return f"{head}{OF_TRIGGER}{found[1].decode()}.log" if found else name

    def _put(self, local: Path, address: str) -> None:
        client, (bucket, key) = self.hook.get_conn(), self.hook.parse_s3_url(address)
        size, there = local.stat().st_size, self._size(client, bucket, key)
        if OF_TRIGGER in key and there:
            # Whoever handed the pod over has not seen its end, however much it wrote; where nobody took the pod, this
            # is all there is.
            end = client.get_object(Bucket=bucket, Key=key, Range=f"bytes={max(0, there - _PART)}-")["Body"].read()
            if (not _handed_over(_bytes(local, -_PART)), size) <= (not _handed_over(end), there):
                return
        extra = {"ServerSideEncryption": "AES256"} if conf.getboolean("logging", "encrypt_s3_logs") else {}
        if self.acl_policy:
            extra["ACL"] = self.acl_policy
        if there and key.endswith(".log") and OF_TRIGGER not in key:
            with local.open("rb") as file:
                digest = _digest(file)
            if size == there and _digest(client.get_object(Bucket=bucket, Key=key)["Body"]) == digest:
                return  # it was stored, and the answer was lost
            # Of another phase of the try, perhaps of another launcher. By what is in it: sent twice, it is there once.
            key += f"{OF_PHASE}{digest}.log"
        if size > LARGE:  # not read into memory
            client.upload_file(str(local), bucket, key, ExtraArgs=extra)
        else:
            client.put_object(Bucket=bucket, Key=key, Body=local.read_bytes(), **extra)

    @staticmethod
    def _size(client: Any, bucket: str, key: str) -> int | None:
        try:
            return client.head_object(Bucket=bucket, Key=key)["ContentLength"]
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                return None
            raise

    def read(self, relative_path: str, ti) -> tuple[list[str], list[str] | None]:
        """The log's addresses and texts; for a try that has ended there is always a text.

        :param relative_path: the log's key below the remote base.
        :param ti: the task instance, with the state of its try.
        """
        address = os.path.join(self.remote_base, relative_path)
        try:
            sources, texts = super().read(relative_path, ti)
        except (BotoCoreError, ClientError) as error:
            return [address], [f"The log could not be read from {address}: {error}"]
        if texts or ti is None or str(ti.state) not in ENDED:
            return sources, texts
        ended = getattr(ti, "end_date", None)
        if ended and datetime.now(timezone.utc) - ended < UPLOAD:
            return [address], [f"The log of this try is being uploaded to {address}. Look again in a moment."]
        return [address], [
            f"There is no log of this try at {address}. It is uploaded when the task ends: the upload failed (wrong "
            "bucket, endpoint or credentials, or S3 was away), or the pod was killed before it. "
            "The state of the task is true all the same."
        ]


def _digest(file: Any) -> str:
    found = hashlib.sha256()
    while part := file.read(LARGE):
        found.update(part)
    return found.hexdigest()[:16]


def _handed_over(end: bytes) -> bool:
    return HANDED_OVER.encode() in end


def _bytes(path: Path, place: int) -> bytes:
    """Some bytes of a file, from a place that is counted from its end where it is negative."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size + place) if place < 0 else place)
        return file.read(_PART)


REMOTE_TASK_LOG = TaskLog.from_config()
