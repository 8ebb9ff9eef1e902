"""The API server of a simulated cluster: Kubernetes' API over HTTP on loopback, as far as tasks' pods need it.

The operator's client, the watch, the logs and the finisher speak to it as to any cluster. It has a thread and an event
loop of its own; what happens in the cluster happens there.
"""

from __future__ import annotations

import asyncio
import bisect
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import WSMsgType, web

from airflow_platform.testing.cluster import XCOM_SIDECAR, Cluster, Pod, Refusal

T = TypeVar("T")

#: Rounds of the event loop without a request or an answer, after which none is under way.
_QUIET = 4


class KubernetesApi:
    """Serves a cluster, until it is closed.

    Attributes:
        url: where it is.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._moves = 0
        app = web.Application(middlewares=[self._count])
        pods, pod = "/api/v1/namespaces/{namespace}/pods", "/api/v1/namespaces/{namespace}/pods/{name}"
        app.router.add_get(pods, self._list_or_watch)
        app.router.add_post(pods, self._create)
        app.router.add_get(pod, self._get)
        app.router.add_patch(pod, self._patch)
        app.router.add_delete(pod, self._delete)
        app.router.add_get(f"{pod}/log", self._log)
        app.router.add_get(f"{pod}/exec", self._exec)
        app.router.add_get("/api/v1/namespaces/{namespace}/events", self._events)
        app.router.add_get("/api/v1/namespaces/{namespace}/resourcequotas", self._quotas)
        app.router.add_get("/api/v1/nodes", self._nodes)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulated Kubernetes API", daemon=True)
        self._thread.start()
        self.url = self._wait(self._start())

    def close(self) -> None:
        """Stop serving."""
        self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()

    def do(self, call: Callable[[], T]) -> T:
        """Have something happen in the cluster."""

        async def work() -> T:
            return call()

        return self._wait(work())

    def settle(self) -> bool:
        """Wait until no request is under way and no answer is unsent; whether any was."""
        return self._wait(self._settle())

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig by which clients find it."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "simulated",
            "contexts": [{"name": "simulated", "context": {"cluster": "simulated", "user": "test"}}],
            "clusters": [{"name": "simulated", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": {"token": "none"}}],
        }
        path.write_text(json.dumps(content))
        return path

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _start(self) -> str:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _end(self) -> None:
        await self._runner.cleanup()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _settle(self) -> bool:
        began = self._moves
        quiet = 0
        while quiet < _QUIET:
            before = self._moves
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._moves == before else 0
        return self._moves != began

    @web.middleware
    async def _count(self, request: web.Request, handler: Callable) -> web.StreamResponse:
        self._moves += 1
        try:
            return await handler(request)
        except ConnectionResetError:
            return web.Response()  # nobody reads any more
        finally:
            self._moves += 1

    async def _create(self, request: web.Request) -> web.Response:
        made = self._cluster.create(await request.json(), request.match_info["namespace"])
        if isinstance(made, Refusal):
            return _status(made.status, made.reason, made.message)
        return _json(_shown(made), status=201)

    async def _get(self, request: web.Request) -> web.Response:
        return _json(_shown(self._pod(request)))

    async def _patch(self, request: web.Request) -> web.Response:
        pod, patch = self._pod(request), await request.json()
        for kind in ("labels", "annotations"):
            for name, value in (patch.get("metadata", {}).get(kind) or {}).items():
                pod.object["metadata"].setdefault(kind, {})[name] = value
        pod.changed()
        return _json(_shown(pod))

    async def _delete(self, request: web.Request) -> web.Response:
        pod = self._pod(request)
        body = await request.json() if request.can_read_body else {}
        if (body.get("preconditions") or {}).get("uid") not in (None, pod.uid):
            return _status(409, "Conflict", f'the UID in the precondition does not match that of pod "{pod.name}"')
        grace = body.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
        self._cluster.delete(pod, None if grace is None else int(grace))
        return _json(_shown(pod))

    async def _list_or_watch(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") == "true":
            return await self._watch(request)
        chosen = _selector(request.query.get("labelSelector", ""))
        found = self._cluster.all_there(request.match_info["namespace"])
        items = [_shown(pod) for pod in found if chosen(pod.object["metadata"].get("labels") or {})]
        metadata = {"resourceVersion": str(self._cluster.version)}
        return _json({"apiVersion": "v1", "kind": "PodList", "metadata": metadata, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        version, namespace = int(request.query["resourceVersion"]), request.match_info["namespace"]
        if version < self._cluster.compacted:
            return _status(410, "Expired", "too old resource version")
        chosen = _selector(request.query.get("labelSelector", ""))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        changed, over = asyncio.Event(), []
        until = self._cluster.now + int(request.query.get("timeoutSeconds", 3600))
        self._cluster.at(until, lambda: (over.append(True), changed.set()), idle=True)
        deaf = self._cluster.listen(changed.set)
        place = bisect.bisect_right(self._cluster.history, version, key=lambda one: one[0])
        try:
            while not over and version >= self._cluster.compacted:
                changed.clear()
                history = self._cluster.history
                for _, where, _, labels, line in history[place:]:
                    if where == namespace and chosen(labels):
                        self._moves += 1
                        await response.write(line)
                place = len(history)
                version = max(version, history[-1][0] if history else 0)
                await changed.wait()
        finally:
            deaf()
        return response

    async def _log(self, request: web.Request) -> web.StreamResponse:
        pod = self._pod(request)
        if pod.started is None:
            return _status(400, "BadRequest", f'container "{pod.base}" in pod "{pod.name}" is waiting to start')
        since = request.query.get("sinceTime", "")[:19]
        response = web.StreamResponse()
        await response.prepare(request)
        changed = asyncio.Event()
        deaf = self._cluster.listen(changed.set)
        sent = 0
        try:
            while True:
                changed.clear()
                own = request.query.get("container", pod.base) == pod.base
                for moment, text in pod.lines[sent:] if own else ():
                    if moment[:19] >= since:
                        self._moves += 1
                        stamped = f"{moment} {text}" if request.query.get("timestamps") == "true" else text
                        await response.write(stamped.encode() + b"\n")
                sent = len(pod.lines)
                if request.query.get("follow") != "true" or pod.stopped is not None or pod.gone:
                    return response
                await changed.wait()
        finally:
            deaf()

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        """What the operator runs in the sidecar of a pod: it reads the XCom, and ends the sidecar."""
        pod, command = self._pod(request), " ".join(request.query.getall("command"))
        if request.query.get("container") != XCOM_SIDECAR:
            return _status(400, "BadRequest", "the simulated cluster runs commands in the sidecar of XComs alone")
        websocket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await websocket.prepare(request)
        if "return.json" in command:
            text = json.dumps(pod.xcom) if pod.has_xcom else "__airflow_xcom_result_empty__"
            await websocket.send_bytes(b"\x01" + text.encode())
        else:
            async for message in websocket:
                if message.type in (WSMsgType.BINARY, WSMsgType.TEXT) and b"kill" in _bytes(message.data):
                    pod.sidecar_ends()
                    break
        await websocket.send_bytes(b"\x03" + json.dumps({"metadata": {}, "status": "Success"}).encode())
        await websocket.close()
        return websocket

    async def _events(self, request: web.Request) -> web.Response:
        uid = request.query.get("fieldSelector", "").partition("involvedObject.uid=")[2]
        items = [event for pod in self._cluster.pods if not uid or pod.uid == uid for event in pod.events]
        return _json({"kind": "EventList", "metadata": {}, "items": items})

    async def _quotas(self, request: web.Request) -> web.Response:
        found = self._cluster.quotas.get(request.match_info["namespace"])
        items = [found] if found else []
        return _json({"kind": "ResourceQuotaList", "metadata": {}, "items": items})

    async def _nodes(self, _: web.Request) -> web.Response:
        return _json({"kind": "NodeList", "metadata": {}, "items": list(self._cluster.nodes.values())})

    def _pod(self, request: web.Request) -> Pod:
        name = request.match_info["name"]
        pod = self._cluster.there(request.match_info["namespace"], name)
        if pod is None:
            body = _status_body(404, "NotFound", f'pods "{name}" not found')
            raise web.HTTPNotFound(text=json.dumps(body), content_type="application/json")
        return pod


def _shown(pod: Pod) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", **pod.object}


def _json(content: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(content, status=status)


def _status_body(code: int, reason: str, message: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }


def _status(code: int, reason: str, message: str) -> web.Response:
    return _json(_status_body(code, reason, message), status=code)


def _bytes(data: bytes | str) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _selector(text: str) -> Callable[[dict[str, str]], bool]:
    """What a label selector chooses: terms ``a=b``, ``a!=b``, ``a``, ``!a``."""
    terms = [term for term in text.split(",") if term]

    def chosen(labels: dict[str, str]) -> bool:
        for term in terms:
            if "!=" in term:
                name, _, value = term.partition("!=")
                if labels.get(name) == value:
                    return False
            elif "=" in term:
                name, _, value = term.replace("==", "=").partition("=")
                if labels.get(name) != value:
                    return False
            elif (term.lstrip("!") in labels) is term.startswith("!"):
                return False
        return True

    return chosen
