"""A Kubernetes API server on loopback for tests: pods with versions, lists in pages, watches; and what goes wrong."""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


def asynchronous(test: Callable) -> Callable:
    """Lets pytest run a coroutine function, in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 60))

    return run


def kubeconfig(path: Path, server: str, user: dict[str, Any] | None = None, **cluster: Any) -> str:
    """Write a kubeconfig with the contexts ``here`` (the current one) and ``nowhere``."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "here", "user": "me"}},
            {"name": "nowhere", "context": {"cluster": "nowhere", "user": "me"}},
        ],
        "clusters": [
            {"name": "here", "cluster": {"server": server, **cluster}},
            {"name": "nowhere", "cluster": {"server": "http://127.0.0.1:9"}},
        ],
        "users": [{"name": "me", "user": user or {"token": "secret"}}],
    }
    path.write_text(json.dumps(content))
    return str(path)


class ApiServer:
    """What a test sets and reads:

    ``token``: the one that is accepted (None: any). ``refuse``: HTTP status for all requests, or for those whose path
    with query matches a pattern. ``open``: while it is clear, requests hang. ``answer``: while it is clear, a pod that
    was asked for is not sent, however long it is known. ``compacted``: no watch may start before this version; the
    answer is 410, as a status or an event (``expires_by``). ``requests``: what came, as (method, path with query,
    Authorization).
    """

    def __init__(self) -> None:
        self.pods: dict[str, dict] = {}
        self.version = 100
        self.compacted = 0
        self.expires_by = "status"
        self.token: str | None = None
        self.refuse: dict[str, int] = {}
        self.open = asyncio.Event()
        self.open.set()
        self.answer = asyncio.Event()
        self.answer.set()
        self.requests: list[tuple[str, str, str | None]] = []
        self.at_once = self.most_at_once = 0
        self.watches: set[web.StreamResponse] = set()
        self._history: list[tuple[int, dict]] = []
        self._changed = asyncio.Condition()
        app = web.Application(middlewares=[self._admit])
        app.router.add_get("/api/v1/namespaces/{namespace}/pods", self._list_or_watch)
        app.router.add_get("/api/v1/namespaces/{namespace}/pods/{name}", self._get)
        app.router.add_get("/api/v1/namespaces/{namespace}/pods/{name}/log", self._log)
        app.router.add_route("*", "/echo", self._echo)
        self.log: list[bytes | None] = []
        self._server = TestServer(app)

    async def start(self, **options: Any) -> ApiServer:
        await self._server.start_server(shutdown_timeout=0.1, **options)
        return self

    async def __aenter__(self) -> ApiServer:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        self.open.set()
        self.answer.set()
        await self.drop_watches()
        await self._server.close()

    @property
    def url(self) -> str:
        return str(self._server.make_url("")).rstrip("/")

    @property
    def port(self) -> int:
        return self._server.port

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until it holds; it is looked at whenever a request comes or ends, or something changes."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(condition), 10)

    def count(self, pattern: str) -> int:
        """Requests whose method and path with query match."""
        return sum(bool(re.search(pattern, f"{method} {path}")) for method, path, _ in self.requests)

    async def put(
        self, name: str, phase: str = "Pending", label: bool = True, silent: bool = False, **more: Any
    ) -> dict:
        """Create the pod or give it another state; ``silent``: no watch sees it."""
        known = self.pods.get(name)
        self.version += 1
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": "team",
                "uid": known["metadata"]["uid"] if known else f"uid-{self.version}",
                "resourceVersion": str(self.version),
                "labels": {"kubernetes_pod_operator": "True"} if label else {},
                **more.pop("metadata", {}),
            },
            "spec": {"containers": [{"name": "base", "image": "i"}], **more.pop("spec", {})},
            "status": {"phase": phase, **more},
        }
        self.pods[name] = pod
        if not silent and (label or known):
            # One that loses the label is deleted as far as the watch goes.
            kind = "DELETED" if not label else "MODIFIED" if known else "ADDED"
            event = {"type": kind, "object": pod}
            if kind == "DELETED":
                event["object"] = {**known, "metadata": {**known["metadata"], "resourceVersion": str(self.version)}}
            self._history.append((self.version, event))
        await self._tell()
        return pod

    async def delete(self, name: str, graceful: bool = True, silent: bool = False) -> None:
        pod = self.pods.pop(name)
        self.version += 1
        metadata = {**pod["metadata"], "resourceVersion": str(self.version)}
        if graceful:
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        if not silent:
            self._history.append((self.version, {"type": "DELETED", "object": {**pod, "metadata": metadata}}))
        await self._tell()

    async def bookmark(self) -> None:
        self.version += 1
        empty = {"metadata": {"resourceVersion": str(self.version), "creationTimestamp": None}}
        empty["spec"] = {"containers": None}
        self._history.append((self.version, {"type": "BOOKMARK", "object": {"kind": "Pod", **empty, "status": {}}}))
        await self._tell()

    async def send(self, line: bytes) -> None:
        """Write raw bytes into all open watches."""
        for response in list(self.watches):
            await response.write(line)

    async def compact(self) -> None:
        """Forget the history, and end all watches."""
        self.version += 1
        self.compacted = self.version
        await self.drop_watches()

    async def drop_watches(self) -> None:
        """Cut the connections of all open watches."""
        for response in list(self.watches):
            if transport := response._req.transport:
                transport.abort()
        await self.until(lambda: not self.watches)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    @web.middleware
    async def _admit(self, request: web.Request, handler: Callable) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, request.headers.get("Authorization")))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self._tell()
            await self.open.wait()
            if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
                return _status(401, "Unauthorized", "Unauthorized")
            for pattern, code in self.refuse.items():
                if re.search(pattern, request.path_qs):
                    return _status(code, "Forbidden", "pods is forbidden")
            return await handler(request)
        finally:
            self.at_once -= 1
            await self._tell()

    async def _list_or_watch(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") == "true":
            return await self._watch(request)
        wanted = dict(label.split("=") for label in request.query["labelSelector"].split(","))
        chosen = [pod for _, pod in sorted(self.pods.items()) if wanted.items() <= pod["metadata"]["labels"].items()]
        start, limit = int(request.query.get("continue", 0)), int(request.query["limit"])
        metadata = {"resourceVersion": str(self.version)}
        if start + limit < len(chosen):
            metadata["continue"] = str(start + limit)
        return web.json_response({"kind": "PodList", "metadata": metadata, "items": chosen[start : start + limit]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        version = int(request.query["resourceVersion"])
        if version < self.compacted and self.expires_by == "status":
            return _status(410, "Expired", "too old resource version")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if version < self.compacted:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
            return response
        self.watches.add(response)
        await self._tell()
        try:
            async with asyncio.timeout(int(request.query["timeoutSeconds"])):
                while True:
                    for at, event in list(self._history):
                        if at > version:
                            version = at
                            await self.open.wait()
                            await response.write(json.dumps(event).encode() + b"\n")
                    async with self._changed:
                        while not (self._history and self._history[-1][0] > version):
                            await self._changed.wait()
        except TimeoutError:
            await self.open.wait()
            return response
        finally:
            self.watches.discard(response)

    async def _get(self, request: web.Request) -> web.Response:
        pod = self.pods.get(request.match_info["name"])
        await self.answer.wait()
        return web.json_response(pod) if pod else _status(404, "NotFound", "pods not found")

    async def _log(self, request: web.Request) -> web.StreamResponse:
        """The pieces of ``log``; None cuts the connection. Then it stays open."""
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in self.log:
            if piece is None:
                request.transport.abort()
                return response
            await response.write(piece)
        if not request.query.get("follow"):
            return response
        await asyncio.Event().wait()

    async def _echo(self, request: web.Request) -> web.Response:
        if request.query.get("empty"):
            return web.Response()
        if "text" in request.query:
            return web.Response(status=503, text=request.query["text"])
        content = await request.text()
        return web.json_response(
            {"method": request.method, "type": request.content_type, "body": content, "query": dict(request.query)}
        )


def _status(code: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    return web.json_response(body, status=code)
