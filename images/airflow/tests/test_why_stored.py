"""What S3 has of a try that failed."""

import io
import json
import logging
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from airflow_platform.why import stored

PATH = "dag_id=d/run_id=r/task_id=t/attempt=1.log"


class Bucket:
    """The calls of an S3 client. ``failure`` is raised by all of them."""

    def __init__(self):
        self.objects, self.failure = {}, None

    def put(self, key, body, age=0):
        self.objects[f"logs/{key}"] = (body, datetime.now(timezone.utc) - timedelta(seconds=age))

    def get_object(self, Bucket, Key, Range=None):
        self._fail()
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        body = self.objects[Key][0].encode()
        return {"Body": io.BytesIO(body[-int(Range.removeprefix("bytes=-")) :] if Range else body)}

    def list_objects_v2(self, Bucket, Prefix):
        self._fail()
        found = [{"Key": key, "LastModified": at} for key, (_, at) in self.objects.items() if key.startswith(Prefix)]
        return {"Contents": found} if found else {}

    def _fail(self):
        if self.failure:
            raise self.failure


@pytest.fixture
def bucket(monkeypatch):
    bucket = Bucket()

    def parse(url):
        name, _, key = url.removeprefix("s3://").partition("/")
        return name, key

    hook = SimpleNamespace(parse_s3_url=parse, get_conn=lambda: bucket)
    store = SimpleNamespace(hook=hook, remote_base="s3://bucket/logs")
    monkeypatch.setattr(stored, "_store", lambda: store)
    return bucket


def lines(*said):
    return "\n".join(json.dumps(one) for one in said)


def test_the_evidence_stands_beside_the_log(bucket):
    bucket.put(PATH.replace(".log", ".evidence.json"), json.dumps({"verdict": {"cause": "exit-code"}}))
    assert stored.evidence(PATH) == {"verdict": {"cause": "exit-code"}}


def test_a_try_may_have_none(bucket, caplog):
    assert stored.evidence(PATH) is None
    assert stored.last_error(PATH) == ""
    assert not caplog.records


def test_an_s3_that_does_not_answer_is_no_error(bucket, caplog):
    bucket.failure = EndpointConnectionError(endpoint_url="http://s3")
    with caplog.at_level(logging.WARNING):
        assert stored.evidence(PATH) is None
        assert stored.last_error(PATH) == ""
    assert "cannot be read" in caplog.text


def test_evidence_that_is_cut_off_is_none(bucket):
    bucket.put(PATH.replace(".log", ".evidence.json"), '{"verdict":')
    assert stored.evidence(PATH) is None


def test_logs_that_are_not_uploaded_have_no_evidence(monkeypatch):
    monkeypatch.setattr(stored, "get_remote_task_log", lambda: None)
    assert stored.evidence(PATH) is None
    monkeypatch.setattr(stored, "get_remote_task_log", lambda: "a store of another kind")
    assert stored.evidence(PATH) is None
    assert stored.last_error(PATH) == ""


def test_the_last_error_is_what_was_raised(bucket):
    raised = [{"exc_type": "ValueError", "exc_value": "no such day"}]
    bucket.put(PATH, lines(
        {"event": "begins", "level": "info"},
        {"event": "first", "level": "error"},
        {"event": "Task failed with exception", "level": "error", "error_detail": raised},
        {"event": "ends", "level": "info"},
    ))  # fmt: skip
    assert stored.last_error(PATH) == "ValueError: no such day"


def test_a_line_of_level_error_is_one_too_and_the_newest_part_of_the_log_counts(bucket):
    bucket.put(PATH, lines({"event": "old", "level": "error"}), age=60)
    bucket.put(f"{PATH}.trigger.4.log", lines({"event": "[base] gave up", "level": "error"}))
    assert stored.last_error(PATH) == "[base] gave up"


def test_only_the_end_of_a_long_log_is_read(bucket, monkeypatch):
    monkeypatch.setattr(stored, "_END", 200)
    bucket.put(PATH, lines(*({"event": f"{number}", "level": "error"} for number in range(100))))
    assert stored.last_error(PATH) == "99"


def test_text_that_is_not_json_is_passed_over(bucket):
    bucket.put(PATH, "plain text\n[1]\n" + lines({"event": "x", "level": "error"}))
    assert stored.last_error(PATH) == "x"
