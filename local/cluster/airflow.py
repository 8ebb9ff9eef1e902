"""Airflow's public REST API, and its logs in S3, as any client reads them."""

from __future__ import annotations

import json
from urllib.parse import quote

import requests
from local.cluster import s3
from local.cluster.console import Problem
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

#: States of a DAG run that it does not leave by itself.
ENDED = {"success", "failed"}


class Airflow:
    """A client of the API.

    :param access: the content of access.json.
    """

    def __init__(self, access: dict) -> None:
        self._access = access
        self._session = requests.Session()
        # A connection that was kept may lead to a pod that is gone by now: what only asks is asked once more.
        again = Retry(total=1, connect=0, read=1, status=0)
        self._session.mount("http://", HTTPAdapter(max_retries=again))

    def call(self, method: str, path: str, **body: object) -> dict:
        """``method`` on ``/api/v2/<path>`` with a JSON body; the JSON answer.

        :raises Problem: the API's own words. :raises requests.RequestException: it does not answer.
        """
        answer = self._request(method, path, body)
        if answer.status_code == 401 or (answer.status_code == 403 and "Invalid JWT token" in answer.text):
            self._login()
            answer = self._request(method, path, body)
        if method == "PATCH" and answer.status_code == 500 and "Database error" in answer.text:
            # Of a run that is marked and its scheduler, which lock rows in another order, PostgreSQL refuses one.
            answer = self._request(method, path, body)
        if not answer.ok:
            raise Problem(f"{method} {path}: {answer.status_code} {answer.text[:500]}", "Is the request right?")
        return answer.json() if answer.content else {}

    def _request(self, method: str, path: str, body: dict) -> requests.Response:
        url = f"{self._access['ui']}/api/v2/{path}"
        return self._session.request(method, url, json=body or None, timeout=30)

    def _login(self) -> None:
        credentials = {"username": self._access["user"], "password": self._access["password"]}
        answer = self._session.post(f"{self._access['ui']}/auth/token", json=credentials, timeout=30)
        if not answer.ok:
            raise Problem(
                f"{self._access['user']} could not log in: {answer.status_code}",
                "Run `make up`, which sets the password.",
            )
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def dag(self, dag_id: str) -> dict | None:
        """The DAG, or None while it is not parsed: there is none, or what is there is of a file that is gone."""
        try:
            found = self.call("GET", f"dags/{dag_id}")
        except Problem as problem:
            if ": 404 " in str(problem):
                return None
            raise
        return None if found["is_stale"] else found

    def run(self, dag_id: str, run_id: str) -> dict:
        """The DAG run."""
        return self.call("GET", f"dags/{dag_id}/dagRuns/{quote(run_id, safe='')}")

    def task_instances(self, dag_id: str, run_id: str) -> list[dict]:
        """All task instances of a run, mapped ones each."""
        path = f"dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances?order_by=id&limit=100"
        found: list[dict] = []
        while True:
            page = self.call("GET", f"{path}&offset={len(found)}")
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def log(self, instance: dict) -> list[str]:
        """The lines of a task instance's last try, from the API: the text of each event, without those of Airflow's
        own that only say where the log was found."""
        path = f"dags/{instance['dag_id']}/dagRuns/{quote(instance['dag_run_id'], safe='')}"
        path += f"/taskInstances/{instance['task_id']}/logs/{instance['try_number']}"
        found = self.call("GET", f"{path}?map_index={instance['map_index']}&full_content=true")
        return [line["event"] for line in found["content"] if isinstance(line, dict) and not _is_group(line["event"])]

    def stored_log(self, instance: dict) -> tuple[str, list[str]]:
        """Where in S3 the log of a task instance's last try stands, and its lines.

        A try has an object for each process that wrote to its log: the address is that of the last.

        :raises Problem: nothing is there.
        """
        client, bucket = s3.client(self._access, attempts=2), self._access["s3"]["bucket"]
        prefix = f"dag_id={instance['dag_id']}/run_id={instance['dag_run_id']}/task_id={instance['task_id']}/"
        if instance["map_index"] >= 0:
            prefix += f"map_index={instance['map_index']}/"
        prefix += f"attempt={instance['try_number']}.log"
        found = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        if not found:
            raise Problem(f"there is no log {prefix} in bucket {bucket}", "Was it uploaded?")
        keys = [one["Key"] for one in sorted(found, key=lambda one: one["LastModified"])]
        bodies = [client.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys]
        return f"s3://{bucket}/{keys[-1]}", [_event(line) for body in bodies for line in body.splitlines() if line]


def _event(line: str) -> str:
    try:
        return json.loads(line)["event"]
    except (ValueError, KeyError, TypeError):
        return line


def _is_group(event: str) -> bool:
    return event.startswith(("::group::", "::endgroup::"))
