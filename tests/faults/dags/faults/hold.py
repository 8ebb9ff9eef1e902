"""What the container of every task runs: numbered lines until it is let go, and an entry in the ledger at both ends.

The first entry says that this process began, the last how many lines it has printed: more than one process for a task,
or a line that is not in the log, is a fault of the platform. It must not fail by itself: it asks the ledger for long.
"""

import json
import os
import signal
import sys
import threading
import time
import uuid
from urllib.request import Request, urlopen

LEDGER, GATE = os.environ["LEDGER"], os.environ["GATE"]
LINES, INTERVAL = int(os.environ["LINES"]), float(os.environ["INTERVAL"])
NUMBER = int(sys.argv[1])
ABOUT = {
    "run_id": os.environ["RUN_ID"],
    "map_index": NUMBER,
    "try_number": int(os.environ["TRY_NUMBER"]),
    "pod_uid": os.environ["POD_UID"],
    "process": uuid.uuid4().hex,
}
#: Seconds for which the ledger is asked again, and between two tries.
PATIENCE, PAUSE = 300, 1
#: Exit code of a task that could not write into the ledger.
NO_LEDGER = 70


def ask(path, body=None):
    """The status of the ledger's answer; it is asked until it answers."""
    data = None if body is None else json.dumps(body).encode()
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urlopen(Request(f"{LEDGER}{path}", data=data), timeout=60) as answer:
                return answer.status
        except OSError as error:
            if time.monotonic() > deadline:
                print(f"the ledger does not answer: {error}", flush=True)
                os._exit(NO_LEDGER)
        time.sleep(PAUSE)


def enter(event, lines):
    """Write into the ledger."""
    ask("/entries", {**ABOUT, "event": event, "lines": lines})


def wait_at_gate(opened):
    """Set ``opened`` once this task may end."""
    while ask(f"/gates/{GATE}/{NUMBER}") != 200:
        pass
    opened.set()


def main():
    """Print a line each interval, at least ``LINES``, until the gate is open."""
    lines = 0

    def terminated(*_):
        enter("terminated", lines)
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, terminated)
    enter("start", 0)
    opened = threading.Event()
    if GATE:
        threading.Thread(target=wait_at_gate, args=[opened], daemon=True).start()
    else:
        opened.set()
    while lines < LINES or not opened.is_set():
        lines += 1
        print(f"line {lines}", flush=True)
        if GATE:
            opened.wait(INTERVAL)
        else:
            time.sleep(INTERVAL)
    enter("end", lines)


main()
