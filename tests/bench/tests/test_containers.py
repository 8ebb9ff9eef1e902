import json

from tests.bench.containers import ContainerTimes

START = '2026-01-02 03:04:05.25 +0000 UTC k8s.io /tasks/start {"container_id":"one","pid":7}'
SECOND = 1767323045


def exit_of(container, process, second):
    body = json.dumps({"container_id": container, "id": process, "pid": 7})
    return f"2026-01-02 03:04:{second} +0000 UTC k8s.io /tasks/exit {body}\n"


def test_start_and_end_of_a_container_to_the_millisecond():
    times = ContainerTimes([])
    times.note(START)
    times.note(exit_of("one", "one", "06.123456789"))
    assert times.started == {"one": SECOND + 0.25}
    assert abs(times.ended["one"] - SECOND - 1.123456789) < 1e-6


def test_a_whole_second_has_no_fraction():
    times = ContainerTimes([])
    times.note(exit_of("one", "one", "05"))
    assert times.ended == {"one": SECOND}


def test_a_process_that_was_run_in_a_container_does_not_end_it():
    times = ContainerTimes([])
    times.note(exit_of("one", "probe", "06.5"))
    assert times.ended == {}


def test_other_lines_are_left_out():
    times = ContainerTimes([])
    for line in ("", "ctr: cannot connect", START.replace("/tasks/start", "/containers/create")):
        times.note(line)
    assert times.started == {}
