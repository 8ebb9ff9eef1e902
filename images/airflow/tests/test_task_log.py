from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

pytest.importorskip("airflow.providers.amazon")

from airflow_platform.task_log import TaskLog

DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectsV2")


class Hook:
    """S3 as the handler sees it: objects by key, or an error for all."""

    def __init__(self, objects=(), error=None):
        self.objects, self.error = dict(objects), error

    def parse_s3_url(self, s3url):
        bucket, _, key = s3url.removeprefix("s3://").partition("/")
        return bucket, key

    def list_keys(self, bucket_name, prefix):
        if self.error:
            raise self.error
        return [key for key in self.objects if key.startswith(prefix)]

    def read_key(self, address):
        return self.objects[self.parse_s3_url(address)[1]]

    def check_for_key(self, address):
        if self.error:
            raise self.error
        return False


@pytest.fixture
def task_log(tmp_path):
    def task_log(**hook):
        made = TaskLog(remote_base="s3://logs", base_log_folder=tmp_path, delete_local_copy=True)
        made.hook = Hook(**hook)
        return made

    return task_log


def ti(state, seconds_ago=61):
    return SimpleNamespace(state=state, end_date=datetime.now(timezone.utc) - timedelta(seconds=seconds_ago))


def test_a_log_that_is_there_is_read(task_log):
    assert task_log(objects={"a.log": "text"}).read("a.log", ti("success")) == (["s3://logs/a.log"], ["text"])


@pytest.mark.parametrize("state", ["success", "failed", "up_for_retry"])
def test_an_ended_try_without_a_log_says_so(task_log, state):
    sources, (text,) = task_log().read("a.log", ti(state))
    assert sources == ["s3://logs/a.log"]
    assert "There is no log of this try at s3://logs/a.log" in text
    assert "the upload failed" in text


def test_a_try_that_ended_a_moment_ago_may_still_upload(task_log):
    assert task_log().read("a.log", ti("success", 1))[1] == [
        "The log of this try is being uploaded to s3://logs/a.log. Look again in a moment."
    ]


@pytest.mark.parametrize("state", ["running", "deferred", "queued", None])
def test_while_the_try_goes_on_the_worker_is_asked(task_log, state):
    assert task_log().read("a.log", ti(state))[1] is None


def test_an_unreadable_bucket_is_a_line_not_an_error(task_log):
    _, (text,) = task_log(error=DENIED).read("a.log", ti("success"))
    assert text.startswith("The log could not be read from s3://logs/a.log")
    assert "AccessDenied" in text


def test_a_failed_upload_is_one_plain_line(task_log, monkeypatch):
    lines = []
    made = task_log(error=DENIED)
    monkeypatch.setattr(made.log, "error", lambda message, *words: lines.append(message % words), raising=False)
    assert made.write("text", "s3://logs/a.log") is False
    assert "could not be uploaded to s3://logs/a.log" in lines[-1]
