"""Airflow's REST API on loopback, for tests of commands: DAGs, and runs that go on as a test says."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


def instance(task_id: str, state: str | None, *, map_index: int = -1, try_number: int = 1, **more: Any) -> dict:
    """A task instance as the API describes it."""
    started = "2026-01-01T00:00:00Z" if state not in (None, "scheduled", "queued") else None
    return {
        "task_id": task_id, "map_index": map_index, "state": state, "try_number": try_number, "max_tries": 0,
        "start_date": started, "end_date": None, "duration": 1.5 if state in ("success", "failed") else None,
        "rendered_fields": {},
    } | more  # fmt: skip


def line(event: str, at: int = 0, **more: Any) -> dict:
    """A line of a log, ``at`` seconds after midnight."""
    return {"timestamp": f"2026-01-01T00:00:{at:02d}Z", "event": event, **more}


@dataclass
class Moment:
    """A run as it is at a look: its state, its task instances, and {task and map index: lines of the log}."""

    state: str
    instances: list[dict] = field(default_factory=list)
    logs: dict[tuple[str, int], list[dict]] = field(default_factory=dict)


@dataclass
class Run:
    """``moments``: each look at the run is one further; the last stays."""

    moments: list[Moment]
    xcoms: dict[tuple[str, int, str], Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    now: Moment | None = None


class Airflow(ThreadingHTTPServer):
    """What a test sets and reads.

    ``dags``: {id: whether it is paused}. ``runs``: {(dag, run): Run}; ``next``: what a triggered run will be.
    ``away``: so many requests get no answer but 503. ``refuse``: {method and path: (status, detail)}. ``asked``: what
    came, as (method, path, body).
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.dags: dict[str, bool] = {}
        self.runs: dict[tuple[str, str], Run] = {}
        self.next: dict[str, Run] = {}
        self.away = 0
        self.lose_answers_to = ""
        self.refuse: dict[tuple[str, str], tuple[int, Any]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.why: dict[str, str] = {}
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def bodies(self, method: str) -> list[Any]:
        """The bodies of requests."""
        return [body for one, _, body in self.asked if one == method]

    def answer(self, method: str, path: str, query: dict, body: Any) -> tuple[int, Any]:
        if (method, path) in self.refuse:
            status, detail = self.refuse[method, path]
            return status, {"detail": detail}
        if found := re.fullmatch(r"/airflow-platform/why/([^/]+)/([^/]+)", path):
            sentence = self.why.get(found[2])
            return (200, {"sentence": sentence}) if sentence else (404, {"detail": "no such task"})
        if found := re.fullmatch(r"/api/v2/dags/([^/]+)", path):
            return self._dag(method, found[1], body)
        if re.fullmatch(r"/api/v2/dags/([^/]+)/clearTaskInstances", path):
            return 200, {"task_instances": []}
        if found := re.fullmatch(r"/api/v2/dags/([^/]+)/dagRuns", path):
            return self._of_date(found[1], query) if method == "GET" else self._trigger(found[1], body)
        if found := re.fullmatch(r"/api/v2/dags/([^/]+)/dagRuns/([^/]+)(?:/taskInstances(.*))?", path):
            run = self.runs.get((found[1], found[2]))
            if run is None:
                return 404, {"detail": f"there is no run {found[2]}"}
            return self._of_run(found[1], found[2], run, found[3], query)
        return 404, {"detail": "Not Found"}

    def _dag(self, method: str, dag_id: str, body: Any) -> tuple[int, Any]:
        if dag_id not in self.dags:
            return 404, {"detail": f"The Dag with ID: `{dag_id}` was not found"}
        if method == "PATCH":
            self.dags[dag_id] = body["is_paused"]
        return 200, {"dag_id": dag_id, "is_paused": self.dags[dag_id]}

    def _trigger(self, dag_id: str, body: Any) -> tuple[int, Any]:
        key = (dag_id, body["dag_run_id"])
        if key in self.runs:
            return 409, {"detail": {"reason": "Unique constraint violation"}}
        self.runs[key] = self.next[dag_id]
        return 200, {"dag_run_id": body["dag_run_id"]}

    def _of_date(self, dag_id: str, query: dict) -> tuple[int, Any]:
        (at,) = query["logical_date_gte"]
        found = [run for (dag, run), one in self.runs.items() if dag == dag_id and one.more.get("logical_date") == at]
        return 200, {"dag_runs": [{"dag_run_id": run_id} for run_id in found], "total_entries": len(found)}

    def _of_run(self, dag_id: str, run_id: str, run: Run, rest: str | None, query: dict) -> tuple[int, Any]:
        if rest is None:
            run.now = run.moments.pop(0) if len(run.moments) > 1 else run.moments[0]
            known = {"dag_id": dag_id, "dag_run_id": run_id, "state": run.now.state, "duration": 61.0}
            return 200, known | {"logical_date": None, "conf": {}, "start_date": None, "end_date": None} | run.more
        now = run.now or run.moments[0]
        if rest == "":
            return 200, _page(now.instances, "task_instances", query)
        if rest == "/~/xcomEntries":
            keys = [{"task_id": task, "map_index": index, "key": key} for task, index, key in run.xcoms]
            return 200, _page(keys, "xcom_entries", query)
        index = int(query.get("map_index", ["-1"])[0])
        if found := re.fullmatch(r"/([^/]+)/xcomEntries/(.+)", rest):
            return 200, {"value": json.dumps(run.xcoms[found[1], index, found[2]])}
        if found := re.fullmatch(r"/([^/]+)/logs/(\d+)", rest):
            return 200, {"content": now.logs.get((found[1], index), []), "continuation_token": None}
        return 404, {"detail": "Not Found"}


def _page(found: list, name: str, query: dict) -> dict:
    limit, offset = (int(query[one][0]) for one in ("limit", "offset"))
    return {name: found[offset : offset + limit], "total_entries": len(found)}


class _Handler(BaseHTTPRequestHandler):
    server: Airflow

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        with self.server.lock:
            content = json.loads(body) if body else None
            self.server.asked.append((self.command, path, content))
            if self.server.away:
                self.server.away -= 1
                status, found = 503, {}
            else:
                status, found = self.server.answer(self.command, path, parse_qs(parts.query), content)
            if self.command == self.server.lose_answers_to:
                self.server.lose_answers_to = ""
                status, found = 504, {}
        text = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = _answer

    def log_message(self, *_: object) -> None:
        pass
