"""From what was seen to the figures."""

import math
from dataclasses import asdict

import pytest
from tests.faults import page, takeover
from tests.faults.ledger import Entry
from tests.faults.logs import Completeness, completeness, lines
from tests.faults.takeover import Starts
from tests.faults.verdict import Verdict, count_lines, count_pods, count_takeovers, count_tasks, percentile


def entries(*events, map_index=0):
    """Entries of one task: ``start:a`` is the start of process a."""
    found = []
    for time, event in enumerate(events):
        name, _, process = event.partition(":")
        found.append(Entry("r", map_index, 1, "u", process or "a", name, 3, time))
    return found


def instance(state="success", map_index=0, try_number=1):
    return {"dag_run_id": "r", "map_index": map_index, "state": state, "try_number": try_number}


def verdict(**more):
    return Verdict("s3", "local", tasks=2, faults=1, **more)


@pytest.mark.parametrize(
    ("texts", "missing", "twice", "disordered"),
    [
        (["line 1", "line 2", "line 3"], 0, 0, 0),
        (["[base] line 1", "something else", "[base] logs: line 2", "line 3 "], 0, 0, 0),
        (["line 1", "line 3"], 1, 0, 0),
        (["line 1", "line 2", "line 2", "line 3"], 0, 1, 0),
        (["line 1", "line 3", "line 2"], 0, 0, 1),
        (["line 1", "line 2", "line 1", "line 2", "line 3"], 0, 2, 1),
        (["line 11", "a line 1", "line 1 of 3"], 3, 0, 0),
        ([], 3, 0, 0),
    ],
)
def test_lines_of_a_log(texts, missing, twice, disordered):
    assert completeness(texts, 3) == Completeness(missing, twice, disordered)


def test_a_log_is_whole_or_not():
    assert Completeness(0, 0, 0)
    assert not Completeness(0, 1, 0)


def test_lines_of_an_object_in_s3():
    body = '{"timestamp": "2026-01-01T00:00:00.123456789Z", "event": "line 1"}\nTraceback\n{"event": "no time"}\n'
    found = lines(body)
    assert [line.text for line in found] == ["line 1", "Traceback", '{"event": "no time"}']
    assert len({line.time for line in found}) == 1


def test_a_callback_that_was_called_twice_must_not_be():
    assert verdict(callbacks_twice=1).broken() == ["1 callbacks called twice"]


def test_a_task_that_ran_once_and_succeeded_is_nothing_to_speak_of():
    found = verdict()
    count_tasks(found, [instance()], entries("start", "end"))
    assert (found.lost, found.failed, found.runs_twice, found.retries) == (0, 0, 0, 0)
    assert found.broken() == []


@pytest.mark.parametrize(
    ("state", "events", "field"),
    [
        ("deferred", ["start", "end"], "lost"),
        (None, [], "lost"),
        ("success", ["start"], "lost"),
        ("failed", ["start", "end"], "failed"),
        ("upstream_failed", [], "failed"),
        ("success", ["start:a", "terminated:a", "start:b", "end:b"], "runs_twice"),
    ],
)
def test_what_must_not_be(state, events, field):
    found = verdict()
    count_tasks(found, [instance(state)], entries(*events))
    assert {
        name: value for name, value in asdict(found).items() if name in ("lost", "failed", "runs_twice") and value
    } == {field: 1}
    assert len(found.broken()) == 1


def test_tries_that_the_platform_used_up_are_told():
    found = verdict()
    count_tasks(found, [instance(try_number=3), instance(map_index=1)], entries("start", "end"))
    assert found.retries == 2
    assert "2 tries used up" in found.broken()


def test_pods():
    found = verdict()
    count_pods(found, [("r", 0), ("r", 0), ("r", 1)], workers=4, unknown=1)
    assert (found.pods, found.pods_twice, found.worker_pods) == (4, 2, 4)
    assert found.broken() == ["2 tasks with two pods"]


def test_a_log_counts_where_it_is_worse():
    found = verdict()
    count_lines(found, [[Completeness(0, 0, 0), Completeness(2, 0, 0)], [Completeness(0, 0, 0), Completeness(0, 0, 0)]])
    assert (found.logs_incomplete, found.lines_missing) == (1, 2)


def starts():
    found = Starts()
    found.read(
        [
            '{"timestamp": "1970-01-01T00:00:10Z", "event": "trigger d/r/hold/0/1 (ID 7) starting"}',
            '{"timestamp": "1970-01-01T00:00:40+00:00", "event": "trigger d/r/hold/0/1 (ID 7) starting"}',
            '{"timestamp": "1970-01-01T00:00:50Z", "event": "trigger d/r/hold/1/1 (ID 8) completed"}',
            "not JSON",
        ]
    )
    return found


def test_the_take_over_is_the_next_start_or_the_end():
    kills = [(5, [("r", 0)]), (15, [("r", 0), ("r", 1), ("r", 2)]), (45, [("r", 0)])]
    ended = {("r", 1): 35.0, ("r", 2): 12.0}
    # The third task had ended before the second kill, and of the first nothing was seen after the third.
    assert takeover.seconds(starts(), kills, ended) == [5, 25, 20, math.inf]


@pytest.mark.parametrize(
    ("values", "p95"),
    [
        ([], None),
        ([3.0], 3.0),
        ([*range(1, 101)], 95),
        ([1.0] * 18 + [math.inf] * 2, None),
        ([1.0] * 19 + [math.inf], 1.0),
    ],
)
def test_percentile(values, p95):
    assert percentile(values, 95) == p95


@pytest.mark.parametrize(("seconds", "broken"), [([45.0], []), ([46.0], ["take-over p95 46 s, over 45 s"])])
def test_a_late_take_over_must_not_be(seconds, broken):
    found = verdict()
    count_takeovers(found, seconds)
    assert found.broken() == broken


def test_the_page_names_what_broke_and_what_was_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    monkeypatch.setattr(page, "LATEST", tmp_path / "latest.json")
    page.keep(Verdict("s3", "local", tasks=30, faults=1, lost=2, date="2026-01-01T00:00:00"))
    page.keep(Verdict("s3", "stock-deferrable", tasks=30, faults=1, failed=9, date="2026-01-01T00:00:00"))
    page.keep(Verdict("s3", "local", tasks=30, faults=1, lost=1, date="2026-01-02T00:00:00"))
    assert [(one.launch, one.lost) for one in page.load()] == [("stock-deferrable", 0), ("local", 1)]
    text = (tmp_path / "README.md").read_text()
    assert "- **s3** (local): 1 tasks lost." in text
    assert "9 tasks failed" not in text
    assert "Not run yet with the platform's launcher: triggerer-kill," in text
