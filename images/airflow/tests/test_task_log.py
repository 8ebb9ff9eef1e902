import io
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from s3transfer.exceptions import RetriesExceededError

pytest.importorskip("airflow.providers.amazon")

from airflow_platform import metrics, unsent
from airflow_platform import task_log as module
from airflow_platform.pod_log import HANDED_OVER
from airflow_platform.task_log import TaskLog

DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectsV2")


class Hook:
    """S3 as the handler sees it: objects by key, or an error for all. It is its own client."""

    def __init__(self, objects=(), error=None):
        self.objects, self.error = dict(objects), error
        self.asked = 0

    def get_conn(self):
        return self

    def _ask(self):
        self.asked += 1
        if self.error:
            raise self.error

    def parse_s3_url(self, s3url):
        bucket, _, key = s3url.removeprefix("s3://").partition("/")
        return bucket, key

    def list_keys(self, bucket_name, prefix):
        self._ask()
        return [key for key in self.objects if key.startswith(prefix)]

    def read_key(self, address):
        return self.objects[self.parse_s3_url(address)[1]]

    def head_object(self, Bucket, Key):
        self._ask()
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "404", "Message": "Not Found"}}, "HeadObject")
        return {"ContentLength": len(self.objects[Key])}

    def get_object(self, Bucket, Key, Range="bytes=0-"):
        self._ask()
        return {"Body": io.BytesIO(self.objects[Key].encode()[int(Range.removeprefix("bytes=")[:-1]) :])}

    def put_object(self, Bucket, Key, Body):
        self._ask()
        self.objects[Key] = Body.decode()

    def upload_file(self, name, bucket, key, ExtraArgs):
        self._ask()
        self.objects[key] = Path(name).read_text()


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


@pytest.fixture
def written(tmp_path):
    """Write a local log; its path below the logs' folder."""

    def written(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    return written


TRIGGER = "dag/attempt=1.log.trigger.{}.log"


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def started(trigger_id, more=""):
    return f'{{"event":"trigger dag/run/task/-1/1 (ID {trigger_id}) starting"}}\n{more}'


def test_a_log_goes_to_s3_and_from_the_disk(task_log, written, tmp_path):
    made = task_log()
    made.upload(written("dag/attempt=1.log", "one\n"))
    assert made.hook.objects == {"dag/attempt=1.log": "one\n"}
    assert files(tmp_path) == []
    assert not (tmp_path / "dag").exists()


def phases(made):
    """The text of a try's first phase, whose object has Airflow's name, and those of the others."""
    names = sorted(made.hook.objects)
    assert names[0] == "dag/attempt=1.log"
    assert all(name.startswith("dag/attempt=1.log.phase.") and name.endswith(".log") for name in names[1:])
    return made.hook.objects["dag/attempt=1.log"], sorted(made.hook.objects[name] for name in names[1:])


def test_a_later_phase_has_a_log_beside_that_of_the_first(task_log, written):
    made = task_log(objects={"dag/attempt=1.log": "one\n"})
    for text in ("two\n", "three\n"):
        made.upload(written("dag/attempt=1.log", text))
    assert phases(made) == ("one\n", ["three\n", "two\n"])
    # Airflow reads all whose names begin so.
    _, texts = made.read("dag/attempt=1.log", ti("success"))
    assert sorted(texts) == ["one\n", "three\n", "two\n"]


@pytest.mark.parametrize("before", [[], ["one\n"]])
def test_a_log_whose_upload_was_not_answered_is_there_once(task_log, written, monkeypatch, before):
    made = task_log()
    for text in before:
        made.upload(written("dag/attempt=1.log", text))
    put = made.hook.put_object

    def unanswered(**words):
        put(**words)
        raise DENIED

    monkeypatch.setattr(made.hook, "put_object", unanswered)
    made.upload(written("dag/attempt=1.log", "two\n"))
    monkeypatch.setattr(made.hook, "put_object", put)
    assert unsent.send(made) == 0
    assert sorted(made.hook.objects.values()) == [*before, "two\n"]


def test_evidence_that_is_written_again_is_replaced(task_log, written):
    """A triggerer that died before the event was stored has uploaded it already."""
    made = task_log(objects={"dag/attempt=1.evidence.json": "{}"})
    made.upload(written("dag/attempt=1.evidence.json", '{"version": 1}'))
    assert made.hook.objects == {"dag/attempt=1.evidence.json": '{"version": 1}'}


def test_a_log_beside_others_leaves_them(task_log, written, tmp_path):
    other = written("dag/attempt=2.log", "other")
    task_log().upload(written("dag/attempt=1.log", "one"))
    assert (tmp_path / other).read_text() == "other"


def test_what_one_triggerer_wrote_the_next_one_replaces(task_log, written):
    made = task_log()
    made.upload(written(TRIGGER.format(7), started(67, "line 1\n")))
    made.upload(written(TRIGGER.format(8), started(67, "line 1\nline 2\n")))
    assert made.hook.objects == {TRIGGER.format(67): started(67, "line 1\nline 2\n")}


def test_less_does_not_replace_more(task_log, written, tmp_path):
    made = task_log()
    made.upload(written(TRIGGER.format(7), started(67, "line 1\nline 2\n")))
    made.upload(written(TRIGGER.format(8), started(67)))
    assert made.hook.objects == {TRIGGER.format(67): started(67, "line 1\nline 2\n")}
    assert files(tmp_path) == []


def test_triggers_of_one_try_have_a_log_each(task_log, written):
    made = task_log()
    for number in (66, 67):
        made.upload(written(TRIGGER.format(7), started(number)))
    assert sorted(made.hook.objects) == [TRIGGER.format(66), TRIGGER.format(67)]


#: What a triggerer wrote that has handed its pod over, as far as it knows, and what the one wrote that has it now.
LEFT = started(67, "no node\n" * module._PART + f"line 1\nPod p: {HANDED_OVER}\n")
TAKEN = started(67, "line 1\nline 2\n")


def test_what_was_handed_over_and_nobody_took_is_all_there_is(task_log, written, tmp_path):
    """A person has cleared the task, and its new try is deferred already."""
    made = task_log()
    made.upload(written(TRIGGER.format(7), LEFT))
    assert made.hook.objects == {TRIGGER.format(67): LEFT}
    assert files(tmp_path) == []


@pytest.mark.parametrize("order", [(LEFT, TAKEN), (TAKEN, LEFT)])
@pytest.mark.parametrize("away", [None, DENIED])
def test_what_was_handed_over_is_the_next_ones(task_log, written, tmp_path, order, away):
    """Whichever is longer, and whoever comes first."""
    made = task_log(error=away)
    for number, log in enumerate(order):
        made.upload(written(TRIGGER.format(number), log))
    made.hook.error = None
    unsent.send(made)
    assert made.hook.objects == {TRIGGER.format(67): TAKEN}
    assert files(tmp_path) == []


def test_of_two_that_handed_it_over_the_longer_one_stays(task_log, written):
    more = LEFT.replace("line 1", "line 1\nline 2")
    made = task_log()
    for log in (LEFT, more, LEFT):
        made.upload(written(TRIGGER.format(7), log))
    assert made.hook.objects == {TRIGGER.format(67): more}


def test_a_large_log_is_not_read_into_memory(task_log, written, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 10)
    monkeypatch.setattr(Path, "read_bytes", None)
    made = task_log()
    made.upload(written("dag/attempt=1.log", "x" * 11))
    assert made.hook.objects == {"dag/attempt=1.log": "x" * 11}


@pytest.mark.parametrize(("first", "second"), [("x" * 11, "y"), ("x", "y" * 11)])
def test_a_large_log_of_a_later_phase_is_beside_that_of_the_first(task_log, written, monkeypatch, first, second):
    monkeypatch.setattr(module, "LARGE", 10)
    made = task_log()
    made.upload(written("dag/attempt=1.log", first))
    made.upload(written("dag/attempt=1.log", second))
    assert phases(made) == (first, [second])


@pytest.mark.parametrize("error", [RetriesExceededError(OSError("reset")), OSError("No space left on device")])
def test_a_large_log_that_cannot_be_uploaded_is_kept(task_log, written, monkeypatch, error):
    monkeypatch.setattr(module, "LARGE", 10)
    made = task_log()

    def fail(*_, **__):
        raise error

    made.hook.upload_file = fail
    assert not made.send(made.base_log_folder / written("dag/attempt=1.log", "y" * 11), "dag/attempt=1.log")
    assert made.hook.objects == {}


@pytest.fixture
def errors(monkeypatch):
    def errors(made):
        lines = []
        monkeypatch.setattr(made.log, "error", lambda message, *words: lines.append(message % words), raising=False)
        return lines

    return errors


def test_a_failed_upload_is_one_plain_line(task_log, written, errors):
    made = task_log(error=DENIED)
    lines = errors(made)
    made.upload(written("a.log", "text"))
    (line,) = lines
    assert "could not be uploaded to s3://logs/a.log" in line
    assert "AccessDenied" in line


def test_a_failed_upload_is_counted(task_log, written, monkeypatch):
    counted = []
    monkeypatch.setattr(module.stats, "incr", counted.append)
    made = task_log(error=DENIED)
    made.upload(written("a.log", "text"))
    assert counted == [metrics.UPLOADS_FAILED]
    made.hook.error = None
    assert unsent.send(made) == 0
    assert counted == [metrics.UPLOADS_FAILED]


def test_logs_that_could_not_be_uploaded_are_later_each_once(task_log, written, tmp_path, errors):
    made = task_log(error=DENIED)
    lines = errors(made)
    for number in range(3):
        made.upload(written(f"{number}/a.log", "text"))
    # The others do not wait for an S3 that is away.
    assert (made.hook.asked, len(lines)) == (1, 1)
    assert unsent.send(made) == 3
    made.hook.error = None
    assert unsent.send(made) == 0
    assert made.hook.objects == {f"{number}/a.log": "text" for number in range(3)}
    asked = made.hook.asked
    assert unsent.send(made) == 0
    assert made.hook.asked == asked
    assert files(tmp_path) == []


def test_a_log_that_waits_is_not_the_next_triggers(task_log, written, tmp_path):
    """All triggers of a try have one path in a triggerer, and Airflow empties the file that is there."""
    made = task_log(error=DENIED)
    first, second = started(66, "in line\n"), started(67, "line 1\n")
    made.upload(written(TRIGGER.format(7), first))
    path = tmp_path / written(TRIGGER.format(7), "")
    with path.open("w") as log:
        log.write(second)
        log.flush()
        made.hook.error = None
        assert unsent.send(made) == 0
        log.write("line 2\n")
    made._away_until = 0
    made.upload(TRIGGER.format(7))
    assert made.hook.objects == {TRIGGER.format(66): first, TRIGGER.format(67): second + "line 2\n"}
    assert files(tmp_path) == []


def test_a_phase_that_runs_while_the_log_of_the_one_before_is_sent_loses_nothing(task_log, written, tmp_path):
    made = task_log(error=DENIED)
    path = tmp_path / written("dag/attempt=1.log", "one\n")
    made.upload("dag/attempt=1.log")
    path.parent.mkdir(exist_ok=True)
    with path.open("ab") as log:
        log.write(b"two\n")
        log.flush()
        made.hook.error = None
        assert unsent.send(made) == 0
        log.write(b"three\n")
    made._away_until = 0
    made.upload("dag/attempt=1.log")
    assert phases(made) == ("one\n", ["two\nthree\n"])


def test_a_phase_that_begins_while_the_one_before_uploads_loses_nothing(task_log, written, monkeypatch):
    made = task_log()
    put = made.hook.put_object
    name = written("dag/attempt=1.log", "one\n")

    def slowly(**words):
        written(name, "two\n")
        put(**words)

    monkeypatch.setattr(made.hook, "put_object", slowly)
    made.upload(name)
    monkeypatch.setattr(made.hook, "put_object", put)
    made.upload(name)
    assert phases(made) == ("one\n", ["two\n"])


def test_a_log_does_not_go_before_one_that_waits_for_the_same_place(task_log, written):
    made = task_log(error=DENIED)
    made.upload(written("dag/attempt=1.log", "one\n"))
    made.hook.error, made._away_until = None, 0
    made.upload(written("dag/attempt=1.log", "two\n"))
    made.upload(written("dag/attempt=2.log", "another\n"))
    assert made.hook.objects == {"dag/attempt=2.log": "another\n"}
    assert unsent.send(made) == 0
    del made.hook.objects["dag/attempt=2.log"]
    assert phases(made) == ("one\n", ["two\n"])


def test_a_note_of_a_log_that_is_gone_is_dropped(task_log, written, tmp_path):
    made = task_log(error=DENIED)
    made.upload(written("a.log", "text"))
    (log,) = (path for path in files(tmp_path) if path.read_text() == "text")
    log.unlink()
    assert unsent.send(made) == 0
    assert files(tmp_path) == []


def test_the_process_that_sends_ends_with_its_parent(task_log, written, monkeypatch):
    made = task_log(error=DENIED)
    made.upload(written("a.log", "text"))
    made.hook.error = None
    monkeypatch.setattr(module, "REMOTE_TASK_LOG", made)
    monkeypatch.setattr(unsent.signal, "signal", lambda *_: None)
    monkeypatch.setattr(unsent.time, "sleep", lambda _: monkeypatch.setattr(unsent.os, "getppid", lambda: -1))
    unsent._run(unsent.os.getppid())
    assert made.hook.objects == {"a.log": "text"}


def test_the_process_that_sends_tells_how_many_wait(task_log, written, monkeypatch):
    told, parent = [], unsent.os.getppid()
    made = task_log(error=DENIED)
    made.upload(written("a.log", "text"))
    monkeypatch.setattr(module, "REMOTE_TASK_LOG", made)
    monkeypatch.setattr(metrics, "initialize", lambda: None)
    monkeypatch.setattr(module.stats, "incr", lambda name, count=1: told.append((name, count)))
    monkeypatch.setattr(module.stats, "gauge", lambda name, value, tags: told.append((name, value, tags)))
    monkeypatch.setattr(unsent.signal, "signal", lambda *_: None)

    def sleep(_):
        if made.hook.error is None:
            monkeypatch.setattr(unsent.os, "getppid", lambda: -1)
        made.hook.error = None

    monkeypatch.setattr(unsent.time, "sleep", sleep)
    unsent._run(parent)
    of_pod = {"pod": metrics.pod()}
    # A counter begins at 0, or its first failure is no increase.
    assert told == [
        (metrics.UPLOADS_FAILED, 0),
        (metrics.UPLOADS_FAILED, 1),
        (metrics.UNSENT, 1, of_pod),
        (metrics.UNSENT, 0, of_pod),
    ]
