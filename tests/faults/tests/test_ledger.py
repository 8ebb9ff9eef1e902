"""The ledger, and the program of the tasks that writes into it."""

import os
import signal
import subprocess
import sys
from collections import Counter

import requests
from local.cluster.console import wait_for
from tests.faults.work import SOURCE

PROGRAM = SOURCE / "hold.py"


def entry(process="p", event="start", **more):
    return {"run_id": "r", "map_index": 0, "process": process, "event": event, **more}


def task(url, *, gate, lines, number=0):
    """The program of a task, as its container runs it."""
    environment = {"LEDGER": url, "GATE": gate, "LINES": str(lines), "INTERVAL": "0.01"}
    environment |= {"RUN_ID": "r", "TRY_NUMBER": "1", "POD_UID": "u"}
    words = [sys.executable, "-c", PROGRAM.read_text(), str(number)]
    return subprocess.Popen(words, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)


def events(ledger):
    return [one["event"] for one in ledger.entries.values()]


def test_an_event_that_is_told_twice_is_written_once(url):
    for _ in range(2):
        requests.post(f"{url}/entries", json=entry(), timeout=5)
    requests.post(f"{url}/entries", json=entry(process="other"), timeout=5)
    found = requests.get(f"{url}/entries", timeout=5).json()
    assert [one["process"] for one in found] == ["p", "other"]
    assert found[0]["time"] <= found[1]["time"]


def test_a_gate_lets_end_who_has_a_smaller_number(url):
    requests.post(f"{url}/gates/g", json=2, timeout=5)
    answers = [
        requests.get(f"{url}/gates/{gate}/{number}", timeout=5) for gate, number in (("g", 1), ("g", 2), ("h", 0))
    ]
    assert [one.status_code for one in answers] == [200, 204, 204]


def test_a_task_prints_its_lines_and_ends(url, ledger):
    out, _ = task(url, gate="", lines=3).communicate(timeout=20)
    assert out.splitlines() == ["line 1", "line 2", "line 3"]
    assert events(ledger) == ["start", "end"]
    assert list(ledger.entries.values())[1]["lines"] == 3


def test_a_task_prints_until_its_gate_opens(url, ledger):
    process = task(url, gate="g", lines=2, number=4)
    try:
        read = [process.stdout.readline().strip() for _ in range(5)]
        assert "end" not in events(ledger)
        ledger.open("g", 5)
        rest, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    printed = read + rest.split("\n")[:-1]
    assert printed == [f"line {number}" for number in range(1, len(printed) + 1)]
    assert list(ledger.entries.values())[-1]["lines"] == len(printed)


def test_a_task_that_is_terminated_says_so(url, ledger):
    process = task(url, gate="g", lines=1)
    try:
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143
    finally:
        process.kill()
    assert events(ledger) == ["start", "terminated"]


def test_every_process_is_a_run_of_its_own(url, ledger):
    for _ in range(2):
        task(url, gate="", lines=1).communicate(timeout=20)
    wait_for("four entries", lambda: len(ledger.entries) == 4, seconds=5, every=0.01)
    assert Counter(events(ledger)) == {"start": 2, "end": 2}
