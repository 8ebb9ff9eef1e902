"""When containers started and ended, by containerd: the API's own times are whole seconds."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterable
from datetime import datetime

#: ``2026-01-02 03:04:05.123456789 +0000 UTC k8s.io /tasks/start {"container_id":"…",…}``, as ``ctr events`` prints it.
LINE = re.compile(
    r"(?P<second>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(?P<fraction>\d+))? \+0000 UTC \S+ "
    r"/tasks/(?P<what>start|exit) (?P<body>\{.*)"
)
#: Ends with its standard input: what `docker exec` started would outlive a killed client.
SCRIPT = """ctr --namespace k8s.io events 'topic=="/tasks/start"' 'topic=="/tasks/exit"' & read -r _; kill $!"""


class ContainerTimes:
    """Follows containerd on some nodes; ``started`` and ``ended``: {container's id: seconds since the epoch}."""

    def __init__(self, nodes: Iterable[str]) -> None:
        self.started: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self._nodes = list(nodes)
        self._processes: list[subprocess.Popen] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> ContainerTimes:
        for node in self._nodes:
            words = ["docker", "exec", "-i", node, "sh", "-c", SCRIPT]
            process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            thread = threading.Thread(target=self._read, args=[process], daemon=True)
            thread.start()
            self._processes.append(process)
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        for process, thread in zip(self._processes, self._threads, strict=True):
            process.stdin.close()  # type: ignore[union-attr]
            thread.join(timeout=10)
            process.wait(timeout=10)

    def _read(self, process: subprocess.Popen) -> None:
        for line in process.stdout:  # type: ignore[union-attr]
            self.note(line)

    def note(self, line: str) -> None:
        """Take in one line of ``ctr events``; lines of other events are left out."""
        if not (found := LINE.match(line)):
            return
        body = json.loads(found["body"])
        # The end of a process that was only run in a container (a probe's, an exec's) has another id than it.
        if found["what"] == "exit" and body.get("id") != body["container_id"]:
            return
        when = datetime.strptime(f"{found['second']} +0000", "%Y-%m-%d %H:%M:%S %z").timestamp()
        when += float(f"0.{found['fraction'] or 0}")
        times = self.started if found["what"] == "start" else self.ended
        times.setdefault(body["container_id"], when)
