"""A node without a kubelet: its pods are moved through their phases, and their logs written, by this program.

So thousands of tasks may wait on a laptop. To Airflow nothing is different: the scheduler binds the pods, their status
changes, the API server fetches their logs from the node, and a deletion waits for the node.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import ApiClient, ApiException, CoordinationV1Api, CoreV1Api
from local.cluster import settings
from tests.observe.pods import Pod, PodRecord

NODE = "bench-stage"
#: Label and taint of the node, so that only what names it comes here.
KEY = "airflow-platform/stage"
LEASES = "kube-node-lease"
#: Seconds between two signs of life; the cluster gives a node up after 50.
HEARTBEAT = 10.0
#: Each pod prints a line in that many seconds.
LINE_EVERY = 10.0
ROOM = {"cpu": "10k", "memory": "100Ti", "pods": "10k"}


class Stage:
    """The node, while the block lasts. Its pods run until `end`; later ones run until the next.

    :param record: the pods of the namespace that they are in.
    """

    def __init__(self, client: ApiClient, record: PodRecord) -> None:
        self._core, self._coordination = CoreV1Api(client), CoordinationV1Api(client)
        self._record = record
        self._stopping = threading.Event()
        self.loop = asyncio.new_event_loop()
        self._ended: dict[str, _End] = {}
        self._ended_at = 0.0
        self._handled: set[tuple[str, str]] = set()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._move, self._live)]
        self._logs: Logs | None = None
        self._failed: Exception | None = None

    def __enter__(self) -> Stage:
        self._remove_node()
        self._logs = Logs(self, _address())
        self._make_node(self._logs.port)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._remove_node()
        for event in list(self._ended.values()):
            event.set()
        self._logs.close()  # type: ignore[union-attr]
        if self._failed:
            raise self._failed

    def end(self) -> None:
        """All pods that run now succeed."""
        self._ended_at = time.time()
        for event in list(self._ended.values()):
            event.set()

    def printed(self, pod: Pod) -> int:
        """How many lines a pod has printed at least, that was ended by the last `end`."""
        # What was due in the last second may have been overtaken.
        return int((self._ended_at - 1 - pod.started("base").timestamp()) // LINE_EVERY) + 1

    def log(self, name: str) -> tuple[float, _End] | None:
        """When a pod of this name began to print, and what is set when it has ended; None where there is none."""
        for pod in reversed(self._mine()):
            if pod.name == name and pod.uid in self._ended and (began := pod.started("base")):
                return began.timestamp(), self._ended[pod.uid]
        return None

    def _mine(self) -> list[Pod]:
        return self._record.pods(lambda pod: pod.manifest["spec"].get("nodeName") == NODE and not pod.deleted)

    def _move(self) -> None:
        """Whatever a kubelet would do next for each pod, again and again."""
        try:
            with ThreadPoolExecutor(8) as pool:
                while not self._stopping.wait(0.3):
                    list(pool.map(self._next, self._mine()))
        except Exception as error:
            self._failed = error

    def _next(self, pod: Pod) -> None:
        status = pod.manifest.get("status", {})
        if pod.manifest["metadata"].get("deletionTimestamp"):
            step = "gone"
        elif pod.uid in self._ended and self._ended[pod.uid].is_set and status.get("phase") == "Running":
            step = "Succeeded"
        elif status.get("phase") == "Pending":
            step = "Running"
        else:
            return
        # The record may be a moment behind what was done.
        if (pod.uid, step) in self._handled:
            return
        self._handled.add((pod.uid, step))
        with contextlib.suppress(_NotFound):
            if step == "gone":
                self._ended.setdefault(pod.uid, _End(self.loop)).set()
                self._delete(pod)
            else:
                self._ended.setdefault(pod.uid, _End(self.loop))
                self._patch(pod, step)

    def _patch(self, pod: Pod, phase: str) -> None:
        now = _stamp(time.time())
        running = phase == "Running"
        state: dict = {"running": {"startedAt": now}}
        if not running:
            began = pod.container().get("state", {}).get("running", {}).get("startedAt", now)
            state = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": began, "finishedAt": now}}
        names = [container["name"] for container in pod.manifest["spec"]["containers"]]
        status = {
            "phase": phase,
            "startTime": pod.manifest.get("status", {}).get("startTime", now),
            "conditions": [
                {"type": name, "status": "True" if running else "False", "lastTransitionTime": now}
                for name in ("Ready", "ContainersReady")
            ],
            "containerStatuses": [
                {
                    "name": name,
                    "image": "none:1",
                    "imageID": "",
                    "containerID": f"stage://{pod.uid}",
                    "ready": running,
                    "started": running,
                    "restartCount": 0,
                    "state": state,
                }
                for name in names
            ],
        }
        namespace = pod.manifest["metadata"]["namespace"]
        with _missing():
            self._core.patch_namespaced_pod_status(pod.name, namespace, {"status": status}, _preload_content=False)

    def _delete(self, pod: Pod) -> None:
        namespace = pod.manifest["metadata"]["namespace"]
        # Of this pod only: the next one may have its name.
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}}
        with _missing():
            self._core.delete_namespaced_pod(pod.name, namespace, body=body, _preload_content=False)

    def _live(self) -> None:
        try:
            while not self._stopping.wait(HEARTBEAT):
                self._coordination.patch_namespaced_lease(NODE, LEASES, {"spec": {"renewTime": _stamp(time.time(), 6)}})
        except Exception as error:
            self._failed = error

    def _make_node(self, port: int) -> None:
        taint = {"key": KEY, "value": "true", "effect": "NoSchedule"}
        node = {"metadata": {"name": NODE, "labels": {KEY: "true"}}, "spec": {"taints": [taint]}}
        self._core.create_node(node)
        now = _stamp(time.time())
        ready = {"type": "Ready", "status": "True", "reason": "Stage", "message": "no kubelet: pods are moved by hand"}
        status = {
            "capacity": ROOM,
            "allocatable": ROOM,
            "addresses": [{"type": "InternalIP", "address": _address()}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "conditions": [ready | {"lastHeartbeatTime": now, "lastTransitionTime": now}],
        }
        self._core.patch_node_status(NODE, {"status": status})
        spec = {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": _stamp(time.time(), 6)}
        self._coordination.create_namespaced_lease(LEASES, {"metadata": {"name": NODE}, "spec": spec})

    def _remove_node(self) -> None:
        """Also what an interrupted run left. DaemonSets put pods on it that no kubelet will ever end."""
        with contextlib.suppress(_NotFound), _missing():
            self._coordination.delete_namespaced_lease(NODE, LEASES)
        with contextlib.suppress(_NotFound), _missing():
            self._core.delete_node(NODE)
        for pod in self._core.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={NODE}").items:
            with contextlib.suppress(_NotFound), _missing():
                self._core.delete_namespaced_pod(pod.metadata.name, pod.metadata.namespace, grace_period_seconds=0)


class _NotFound(Exception):
    """What was to be changed is gone, or another has its name."""


@contextlib.contextmanager
def _missing():
    try:
        yield
    except ApiException as error:
        if error.status in (404, 409):
            raise _NotFound from None
        raise


class _End:
    """That a pod has ended: any thread may say so, and the one that serves the logs waits for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._event = loop, asyncio.Event()
        self.is_set = False

    def set(self) -> None:
        self.is_set = True
        self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self, seconds: float) -> bool:
        """Whether it ends within so many seconds."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)
        return self.is_set


class Logs:
    """What the API server asks a kubelet for: ``/containerLogs/<namespace>/<pod>/<container>?follow=true``, by TLS.

    It listens on a free ``port`` of ``address`` until `close`. One thread serves all logs: a thread for each would take
    the processors from what is measured.
    """

    def __init__(self, stage: Stage, address: str) -> None:
        self._stage, self._loop = stage, stage.loop
        serving = asyncio.start_server(self._answer, address, 0, ssl=_certificate(), backlog=1024)
        self.port = self._loop.run_until_complete(serving).sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            head = await reader.readuntil(b"\r\n\r\n")
            address = urlsplit(head.split(b" ", 2)[1].decode())
            asked = {name: values[0] for name, values in parse_qs(address.query).items()}
            parts = address.path.strip("/").split("/")
            found = self._stage.log(parts[2]) if len(parts) == 4 and parts[0] == "containerLogs" else None
            if found:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
                await self._print(writer, *found, asked)
                writer.write(b"0\r\n\r\n")
            else:
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    async def _print(self, writer: asyncio.StreamWriter, began: float, end: _End, asked: dict[str, str]) -> None:
        """A line when the pod began, and one each ten seconds until it ends."""
        since = asked.get("sinceTime")
        after = datetime.fromisoformat(since.replace("Z", "+00:00")).timestamp() if since else 0.0
        number = 1
        while True:
            due = began + (number - 1) * LINE_EVERY
            if due > time.time() and (asked.get("follow") != "true" or await end.wait(due - time.time())):
                return
            if due >= after:
                stamp = f"{_stamp(due, 9)} " if asked.get("timestamps") == "true" else ""
                line = f"{stamp}line {number}\n".encode()
                writer.write(b"%x\r\n%s\r\n" % (len(line), line))
                await writer.drain()
            number += 1


def _certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = Path(folder, "key.pem"), Path(folder, "cert.pem")
        words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={NODE}", "-days", "2"]
        words += ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(words, check=True, capture_output=True)
        context.load_cert_chain(certificate, key)
    return context


def _address() -> str:
    """This machine's address on the nodes' network."""
    words = ["docker", "network", "inspect", settings.NETWORK, "-f", "{{json .IPAM.Config}}"]
    configured = json.loads(subprocess.check_output(words, text=True))
    return next(one["Gateway"] for one in configured if "." in one.get("Gateway", ""))


def _stamp(seconds: float, digits: int = 0) -> str:
    """``2026-01-02T03:04:05.678Z``, with so many digits of a second."""
    text = f"{datetime.fromtimestamp(int(seconds), timezone.utc):%Y-%m-%dT%H:%M:%S}"
    fraction = f"{seconds % 1:.9f}"[1 : digits + 2] if digits else ""
    return f"{text}{fraction}Z"
