"""The platform's plugin of Airflow, loaded through the entry point group ``airflow.plugins``.

Every process of Airflow loads it, so the API is imported only where it is served.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

from airflow_platform.ui import PREFIX

#: Relative to the UI's own address, wherever that is.
_PAGES = f"{PREFIX.lstrip('/')}/pages.js"


class Platform(AirflowPlugin):
    """A tab of a task instance that says why, a page of the node pools, and the schedule of released DAGs."""

    name = "airflow-platform"
    react_apps = [  # noqa: RUF012
        {"name": "Why", "bundle_url": _PAGES, "url_route": "why", "destination": "task_instance"},
        {
            "name": "Node pools",
            "bundle_url": _PAGES,
            "url_route": "node-pools",
            "destination": "nav",
            "nav_top_level": True,
        },
    ]

    @property
    def timetables(self) -> list[type]:
        """The schedule of released DAGs, by which Airflow reads it from its database."""
        from airflow_platform.release.timetable import ReleasedTimetable, Unscheduled

        return [ReleasedTimetable, Unscheduled]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:
        """The API, as the api-server mounts it."""
        from airflow_platform.ui.api import app

        return [{"app": app, "url_prefix": PREFIX, "name": "airflow-platform"}]
