"""The platform's routes at the api-server: for the pages in Airflow's UI, and for the command line.

Who asks is known as in Airflow's own API, by the session's cookie or a token, and may ask what they may read there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag, requires_access_pool
from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.responses import FileResponse

from airflow_platform.ui import warm

_PAGES = Path(__file__).with_name("pages.js")

app = FastAPI(title="airflow-platform", docs_url=None, redoc_url=None, openapi_url=None, lifespan=warm.lifespan)


def _readable(user: GetUserDep) -> set[str]:
    """The DAGs that the user may read: of others, no name is told."""
    return get_auth_manager().get_authorized_dag_ids(user=user, method="GET")


Readable = Annotated[set[str], Depends(_readable)]


@app.get(
    "/why/{dag_id}/{task_id}",
    dependencies=[
        Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE)),
        # Of a try that failed, the answer has the last lines of its log.
        Depends(requires_access_dag("GET", DagAccessEntity.TASK_LOGS)),
    ],
)
async def why(
    response: Response,
    readable: Readable,
    dag_id: str,
    task_id: str,
    run_id: str | None = None,
    map_index: int | None = None,
) -> dict[str, Any]:
    """Why a task does not run, or how it ended (`airflow_platform.why.answer.Answer`)."""
    from airflow_platform.why import explain
    from airflow_platform.why.database import NotFoundError, Request

    response.headers["Cache-Control"] = "no-store"
    try:
        return (await explain(Request(dag_id, task_id, run_id, map_index, readable))).as_dict()
    except NotFoundError as error:
        raise HTTPException(404, str(error)) from error


@app.get("/node-pools", dependencies=[Depends(requires_access_pool("GET"))])
async def node_pools(response: Response, readable: Readable) -> dict[str, Any]:
    """The node pools as they are now (`airflow_platform.ui.node_pools.describe`)."""
    from airflow_platform.ui import state

    response.headers["Cache-Control"] = "no-store"
    return await state.node_pools(readable)


@app.get("/pages.js")
def pages() -> FileResponse:
    """What shows them. It holds nothing of anybody's; browsers ask each time whether it is the newest."""
    return FileResponse(_PAGES, media_type="text/javascript", headers={"Cache-Control": "no-cache"})
