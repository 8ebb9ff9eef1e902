"""The routes at the api-server: who may ask what. And the plugin, as Airflow loads it."""

import re
import subprocess
import sys
from importlib.metadata import entry_points
from types import SimpleNamespace

import pytest
from airflow.api_fastapi import app as airflow_app
from airflow.api_fastapi.core_api import security
from airflow.api_fastapi.execution_api.app import create_task_execution_api_app
from fastapi import FastAPI
from starlette.testclient import TestClient

from airflow_platform import why
from airflow_platform.ui import api, plugin, state, warm
from airflow_platform.why.database import NotFoundError


class AuthManager:
    """``may``: (method, entity, dag) that are allowed; ``pools``: whether pools may be read."""

    def __init__(self):
        self.may, self.pools, self.dags = set(), True, {"d"}

    async def get_user_from_token(self, token):
        return SimpleNamespace(name=token)

    def is_authorized_dag(self, *, method, access_entity, details, user):
        return (method, access_entity.value, details.id) in self.may

    def is_authorized_pool(self, *, method, details, user):
        return self.pools

    def get_authorized_dag_ids(self, *, user, method):
        return self.dags


@pytest.fixture
def manager(monkeypatch):
    manager = AuthManager()
    for module in (security, api):
        monkeypatch.setattr(module, "get_auth_manager", lambda: manager)
    monkeypatch.setattr(security.DagModel, "get_team_name", lambda dag_id: None)
    manager.may = {("GET", "TASK_INSTANCE", "d"), ("GET", "TASK_LOGS", "d")}
    return manager


@pytest.fixture
def client(manager):
    return TestClient(api.app)


@pytest.fixture
def asked(monkeypatch):
    """What `explain` is asked; its answer."""
    requests = []

    async def explain(request):
        requests.append(request)
        if request.dag_id != "d" or request.task_id != "t":
            raise NotFoundError(f"DAG {request.dag_id} has no task {request.task_id!r}. Known: t.")
        return SimpleNamespace(as_dict=lambda: {"sentence": "<b>x</b>"})

    monkeypatch.setattr(why, "explain", explain)
    return requests


TOKEN = {"Authorization": "Bearer somebody"}


def test_an_answer_for_who_may_read_the_dag(client, asked):
    answer = client.get("/why/d/t", params={"run_id": "r", "map_index": 2}, headers=TOKEN)
    assert (answer.status_code, answer.json()) == (200, {"sentence": "<b>x</b>"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    (request,) = asked
    assert (request.dag_id, request.task_id, request.run_id, request.map_index) == ("d", "t", "r", 2)
    assert request.readable == {"d"}


def test_the_sessions_cookie_is_enough(client, asked):
    client.cookies.set("_token", "somebody")
    assert client.get("/why/d/t").status_code == 200


def test_nobody_gets_no_answer(client, asked):
    assert client.get("/why/d/t").status_code == 401
    assert client.get("/node-pools").status_code == 401
    assert asked == []


@pytest.mark.parametrize("missing", ["TASK_INSTANCE", "TASK_LOGS"])
def test_who_may_not_read_the_task_or_its_log_gets_no_answer(client, manager, asked, missing):
    manager.may.remove(("GET", missing, "d"))
    assert client.get("/why/d/t", headers=TOKEN).status_code == 403
    assert asked == []


def test_another_dag_in_the_query_opens_nothing(client, asked):
    assert client.get("/why/other/t", params={"dag_id": "d"}, headers=TOKEN).status_code == 403


def test_what_is_not_known_is_not_found(client, asked):
    answer = client.get("/why/d/x", headers=TOKEN)
    assert (answer.status_code, answer.json()) == (404, {"detail": "DAG d has no task 'x'. Known: t."})


def test_the_node_pools_are_for_who_may_read_pools(client, manager, monkeypatch):
    async def node_pools(readable):
        return {"pools": sorted(readable)}

    monkeypatch.setattr(state, "node_pools", node_pools)
    assert client.get("/node-pools", headers=TOKEN).json() == {"pools": ["d"]}
    manager.pools = False
    assert client.get("/node-pools", headers=TOKEN).status_code == 403


def test_the_pages_are_a_module_that_is_asked_for_each_time(client):
    answer = client.get("/pages.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cache-control"] == "no-cache"
    for app in plugin.Platform.react_apps:
        assert re.search(rf'globalThis(\.{app["name"]}|\["{app["name"]}"\]) = ', answer.text)


def test_the_pages_put_no_text_into_the_document_unescaped(client):
    text = client.get("/pages.js").text
    for word in ("innerHTML", "dangerouslySetInnerHTML", "document.write", "eval(", "Function("):
        assert word not in text


def test_airflow_finds_the_plugin_and_serves_its_routes():
    (entry,) = (one for one in entry_points(group="airflow.plugins") if one.name == "airflow-platform")
    found = entry.load()()
    (served,) = found.fastapi_apps
    assert (served["app"], served["url_prefix"]) == (api.app, "/airflow-platform")
    assert {one["destination"] for one in found.react_apps} == {"task_instance", "nav"}
    for one in found.react_apps:
        assert one["bundle_url"] == "airflow-platform/pages.js"


def test_the_plugin_costs_other_processes_nothing():
    code = (
        "import sys, airflow.plugins_manager; before = set(sys.modules); import airflow_platform.ui.plugin;"
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('airflow_platform')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_the_api_of_tasks_is_built_before_the_api_server_listens(monkeypatch):
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "0" * 64)
    tasks, served = create_task_execution_api_app(), FastAPI(lifespan=airflow_app.lifespan)
    served.mount("/execution", tasks)
    served.mount("/airflow-platform", api.app)
    monkeypatch.setitem(sys.modules, warm._SERVED, SimpleNamespace(app=served))
    # Of Cadwyn's own: its first request does not build it twice.
    assert not tasks._cadwyn_initialized
    with TestClient(served):
        assert tasks._cadwyn_initialized


def test_without_that_api_the_server_starts_all_the_same(monkeypatch):
    async def broken(scope, receive, send):
        raise RuntimeError("broken")

    served = FastAPI(lifespan=airflow_app.lifespan)
    served.mount("/execution", broken)
    served.mount("/airflow-platform", api.app)
    monkeypatch.setitem(sys.modules, warm._SERVED, SimpleNamespace(app=served))
    with TestClient(served) as client:
        assert client.get("/airflow-platform/pages.js").status_code == 200
    monkeypatch.delitem(sys.modules, warm._SERVED)
    with TestClient(served) as client:
        assert client.get("/airflow-platform/pages.js").status_code == 200
