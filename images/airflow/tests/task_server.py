"""What a pod trigger has around it, for tests: an API server that deletes and marks pods, and Airflow's word."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Imported with the first cluster else, which takes seconds.
import kubernetes_asyncio.client  # noqa: F401
from aiohttp import web
from airflow.sdk.execution_time import task_runner
from api_server import ApiServer, kubeconfig

from airflow_platform.cluster import ClusterRef


class TaskServer(ApiServer):
    """``log``: lines of every container, with timestamps. ``events``: of every pod. ``nodes``: of the cluster, in pages
    of ``node_page``. ``pods_on_nodes``: of the cluster. ``quotas``, ``workloads`` (Kueue's): of the namespace.
    ``deleted``: uids, in order, each with the body of the request.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict] = []
        self.nodes: list[dict] = []
        self.node_page = 500
        self.pods_on_nodes: list[dict] = []
        self.quotas: list[dict] = []
        self.workloads: list[dict] = []
        self.deleted: list[tuple[str, dict]] = []
        pod = "/api/v1/namespaces/{namespace}/pods/{name}"
        self._server.app.router.add_delete(pod, self._delete)
        self._server.app.router.add_patch(pod, self._patch)
        self._server.app.router.add_get("/api/v1/namespaces/{namespace}/events", self._events)
        self._server.app.router.add_get("/api/v1/nodes", self._nodes)
        self._server.app.router.add_get("/api/v1/pods", self._pods_on_nodes)
        self._server.app.router.add_get("/api/v1/namespaces/{namespace}/resourcequotas", self._quotas)
        workloads = "/apis/kueue.x-k8s.io/v1beta2/namespaces/{namespace}/workloads"
        self._server.app.router.add_get(workloads, self._workloads)

    async def run(self, name: str, phase: str, code: int | None = None, **more: Any) -> dict:
        """Give the pod a phase, and its base container a state."""
        state = {"Running": {"running": {}}}.get(phase, {})
        if code is not None:
            state = {"terminated": {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}}
        more.setdefault("containerStatuses", [{"name": "base", "image": "i", "state": state}])
        known = self.pods.get(name, {}).get("metadata", {})
        metadata = {"creationTimestamp": known.get("creationTimestamp") or ago(0), **more.pop("metadata", {})}
        return await self.put(name, phase, metadata=metadata, **more)

    async def _delete(self, request: web.Request) -> web.Response:
        name, body = request.match_info["name"], await request.json()
        pod = self.pods.get(name)
        if pod is None:
            return status(404, "NotFound")
        if body.get("preconditions", {}).get("uid") not in (None, pod["metadata"]["uid"]):
            return status(409, "Conflict")
        self.deleted.append((pod["metadata"]["uid"], body))
        await self.delete(name)
        return web.json_response({})

    async def _patch(self, request: web.Request) -> web.Response:
        name, patch = request.match_info["name"], await request.json()
        if name not in self.pods:
            return status(404, "NotFound")
        self.pods[name]["metadata"]["labels"].update(patch["metadata"]["labels"])
        return web.json_response(self.pods[name])

    async def _events(self, request: web.Request) -> web.Response:
        return web.json_response({"items": self.events})

    async def _pods_on_nodes(self, request: web.Request) -> web.Response:
        return web.json_response({"kind": "PodList", "metadata": {}, "items": self.pods_on_nodes})

    async def _nodes(self, request: web.Request) -> web.Response:
        begin = int(request.query.get("continue") or 0)
        end = begin + self.node_page
        metadata = {"continue": str(end)} if end < len(self.nodes) else {}
        return web.json_response({"metadata": metadata, "items": self.nodes[begin:end]})

    async def _quotas(self, request: web.Request) -> web.Response:
        return web.json_response({"metadata": {}, "items": self.quotas})

    async def _workloads(self, request: web.Request) -> web.Response:
        return web.json_response({"metadata": {}, "items": self.workloads})

    async def _log(self, request: web.Request) -> web.StreamResponse:
        """The log; it ends when the pod does."""
        response = web.StreamResponse()
        await response.prepare(request)
        for line in self.log:
            await response.write(line + b"\n")
        if request.query.get("follow"):
            async with self._changed:
                await self._changed.wait_for(lambda: self._has_ended(request.match_info["name"]))
        return response

    def _has_ended(self, name: str) -> bool:
        return name not in self.pods or self.pods[name]["status"]["phase"] in ("Succeeded", "Failed")


class Airflow:
    """The supervisor that a triggerer asks: states of tasks by (dag, run, task); an exception: there is no answer."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, str, str], str | None] = {}
        self.failure: Exception | None = None
        self.asked: list[Any] = []

    async def asend(self, message: Any) -> Any:
        self.asked.append(message)
        if self.failure:
            raise self.failure
        found: dict[str, dict[str, str | None]] = {}
        for (dag_id, run_id, task), state in self.states.items():
            wanted = any(task == one or task.startswith(f"{one}_") for one in message.task_ids)
            if dag_id == message.dag_id and run_id in message.run_ids and wanted:
                found.setdefault(run_id, {})[task] = state
        return SimpleNamespace(task_states=found)


@contextlib.asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[tuple[TaskServer, ClusterRef]]:
    """An API server, and what names it."""
    async with TaskServer() as api:
        # Of a name of its own: by that, another server of the same test is another cluster.
        path = folder / f"kubeconfig-{api.port}"
        yield api, ClusterRef(None, config_file=kubeconfig(path, api.url))


async def until(condition: Callable[[], Any]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def ask(monkeypatch: Any) -> Airflow:
    """Put Airflow's supervisor in place."""
    airflow = Airflow()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", airflow, raising=False)
    return airflow


def instance(task_id: str = "task", run_id: str = "run", map_index: int = -1) -> SimpleNamespace:
    """A task instance."""
    return SimpleNamespace(dag_id="dag", run_id=run_id, task_id=task_id, map_index=map_index, try_number=1, id="ti")


def ago(seconds: float) -> str:
    """A time as the API writes it."""
    return (datetime.now(timezone.utc) - timedelta(seconds=seconds)).isoformat(timespec="seconds")


def status(code: int, reason: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "reason": reason, "message": reason}, status=code)
