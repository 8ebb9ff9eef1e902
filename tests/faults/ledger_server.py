"""The ledger: who ran, and who may end. Runs in a pod of its own, with the standard library alone.

``POST /entries``             write an entry (JSON); 200. The same event of the same process is written once.
``GET /entries``              all of them, as JSON.
``POST /gates/<name>``        let the tasks below a number (JSON) end; 200.
``GET /gates/<name>/<n>``     200 once task ``n`` may end; 204 after `HELD` seconds in which it may not: ask again.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8000
#: Seconds that a question is kept without an answer.
HELD = 20


class Server(ThreadingHTTPServer):
    """Keeps the entries and the gates."""

    daemon_threads = True
    # Hundreds of tasks may ask at the same moment.
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], held: float = HELD) -> None:
        super().__init__(address, Handler)
        self.changed = threading.Condition()
        self.held = held
        self.entries: dict[tuple[str, str], dict] = {}
        self.gates: dict[str, int] = {}

    def enter(self, entry: dict) -> None:
        """Keep an entry with the time at which it came; a repeated one is left out."""
        with self.changed:
            self.entries.setdefault((entry["process"], entry["event"]), {**entry, "time": time.time()})

    def open(self, gate: str, below: int) -> None:
        """Let the tasks below a number end."""
        with self.changed:
            self.gates[gate] = below
            self.changed.notify_all()

    def may_end(self, gate: str, number: int) -> bool:
        """Wait until the task may end, or until it has waited long."""
        with self.changed:
            return self.changed.wait_for(lambda: number < self.gates.get(gate, 0), timeout=self.held)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_POST(self) -> None:
        """An entry, or how far a gate is open."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/entries":
            self.server.enter(body)
        else:
            self.server.open(self.path.removeprefix("/gates/"), body)
        self._answer(200)

    def do_GET(self) -> None:
        """All entries, or whether a task may end."""
        if self.path == "/entries":
            with self.server.changed:
                body = json.dumps(list(self.server.entries.values())).encode()
            self._answer(200, body)
        else:
            _, _, gate, number = self.path.split("/")
            self._answer(200 if self.server.may_end(gate, int(number)) else 204)

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: thousands of requests are not a log."""


if __name__ == "__main__":
    Server(("", PORT)).serve_forever()
