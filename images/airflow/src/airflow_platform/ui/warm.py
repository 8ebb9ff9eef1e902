"""Has the API that tasks talk to built before the api-server listens.

Cadwyn builds it at its first request (``cadwyn.applications.Cadwyn.__call__``): three seconds of processor time, many
times that where several pods start at once, in which the process answers nobody else.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI
from starlette.routing import Mount

log = logging.getLogger(__name__)

#: Airflow's module whose ``app`` uvicorn serves.
_SERVED = "airflow.api_fastapi.main"


async def build(app: FastAPI) -> None:
    """Ask the API of tasks once, in this process."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
        answer = await client.get("http://localhost/health")
    log.info("The API of tasks is built: %s", answer.status_code)


@contextlib.asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Of an app that the api-server mounts: uvicorn listens once all of these have begun."""
    served = getattr(sys.modules.get(_SERVED), "app", None)
    for route in getattr(served, "routes", ()):
        if isinstance(route, Mount) and route.path == "/execution":
            # Without it the first to ask waits, as with Airflow alone.
            with contextlib.suppress(Exception):
                await build(route.app)
    yield
