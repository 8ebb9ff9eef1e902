"""Task logs in S3, with a plain line where there is none.

Airflow's own reader, finding nothing in S3, asks the worker pod, which is gone, and shows that its address does not
answer. ``[logging] logging_config_class`` names :data:`LOGGING_CONFIG`; Airflow then takes :data:`REMOTE_TASK_LOG`
from this module (airflow._shared.logging.remote).
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG as LOGGING_CONFIG
from airflow.providers.amazon.aws.log.s3_task_handler import S3RemoteLogIO
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError

from airflow_platform.pod_log import HANDED_OVER

__all__ = ["LOGGING_CONFIG", "REMOTE_TASK_LOG", "TaskLog"]

#: States in which a try has ended: its log is in S3, or nowhere.
ENDED = {"success", "failed", "skipped", "up_for_retry", "upstream_failed", "removed"}

#: A worker uploads its log a moment after its task has ended.
UPLOAD = timedelta(seconds=20)

#: Bytes from which a log is uploaded in parts.
LARGE = 8 * 1024 * 1024

#: Bytes at the end of a log in which a triggerer says that it follows the pod no more.
_TAIL = 4096


class TaskLog(S3RemoteLogIO):
    """Airflow's log in S3; what cannot be written or read is said in one line."""

    def write(self, log: str, remote_log_location: str, append: bool = True, max_retry: int = 1) -> bool:
        """Upload a log; True where it is in S3.

        A failure never changes the task's state; it is a line in the worker's own output.
        """
        written = super().write(log, remote_log_location, append, max_retry)
        if not written:
            self.log.error(
                "The log of this try could not be uploaded to %s: check bucket, endpoint and credentials. "
                "The task's state is not affected.",
                remote_log_location,
            )
        return written

    def upload(self, path: str | os.PathLike[str], ti=None) -> None:
        """Upload a finished log file, as Airflow does, except what a triggerer wrote that handed its pod over: the one
        that follows the pod now has the log from its beginning.
        """
        local = self.base_log_folder.joinpath(path)
        if _handed_over(local):
            local.unlink(missing_ok=True)
        elif local.is_file() and local.stat().st_size > LARGE:
            self._upload_large(local, os.path.join(self.remote_base, path))
        else:
            super().upload(path, ti)

    def _upload_large(self, local: Path, address: str) -> None:
        """Upload without reading it into memory, once and not after what is there: a large log is one pod's."""
        bucket, key = self.hook.parse_s3_url(address)
        try:
            self.hook.get_conn().upload_file(str(local), bucket, key)
        except (BotoCoreError, ClientError, S3UploadFailedError) as error:
            self.log.error("The log of this try could not be uploaded to %s: %s", address, error)
        else:
            local.unlink()

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


def _handed_over(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return HANDED_OVER.encode() in file.read()
    except OSError:
        return False


REMOTE_TASK_LOG = TaskLog.from_config()
