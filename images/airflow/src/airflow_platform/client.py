"""The api-server's routes of the platform (`airflow_platform.ui.api`), for commands outside of the cluster.

Who asks is a user of Airflow: by a token, or by name and password, for which ``/auth/token`` gives one.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from airflow_platform.command_error import CommandError
from airflow_platform.ui import PREFIX

if TYPE_CHECKING:
    import httpx

URL, TOKEN, USER, PASSWORD = (f"AIRFLOW_PLATFORM_{name}" for name in ("URL", "TOKEN", "USER", "PASSWORD"))

#: Seconds for one answer.
_TIMEOUT = 60


class ClientError(CommandError):
    """What was asked cannot be answered; the message says why, and what to do."""


def add_options(parser: ArgumentParser) -> None:
    """The options that say where the api-server is and who asks.

    A password is no option: every process of the machine would see it.
    """
    group = parser.add_argument_group("the api-server")
    group.add_argument("--url", default=os.environ.get(URL), help=f"its address, as browsers use it (default: {URL})")
    group.add_argument(
        "--user",
        default=os.environ.get(USER),
        help=f"a user of Airflow (default: {USER}), with the password in {PASSWORD}; or a token in {TOKEN}",
    )


class Client:
    """One api-server."""

    def __init__(self, url: str, *, token: str | None, user: str | None, password: str | None) -> None:
        self._url, self._token = url.rstrip("/"), token
        self._user, self._password = user, password

    @classmethod
    def of(cls, options: Namespace) -> Client:
        """The api-server that the options name.

        Raises:
            ClientError: they name none, or nobody who asks.
        """
        if not options.url:
            raise ClientError(
                f"where is the api-server? Set {URL} or --url, such as https://airflow.example.com; or run this in its "
                "pod: kubectl exec deploy/airflow-api-server -- airflow-platform …"
            )
        if not options.url.startswith(("http://", "https://")):
            raise ClientError(f"{options.url!r} is no address of an api-server: it begins with http:// or https://")
        token, password = os.environ.get(TOKEN), os.environ.get(PASSWORD)
        if not token and not (options.user and password):
            raise ClientError(f"who asks? Set {TOKEN}, or --user and {PASSWORD}")
        return cls(options.url, token=token, user=options.user, password=password)

    def get(self, path: str, *, below: str = PREFIX, **query: Any) -> dict[str, Any]:
        """What a route answers, by default one of the platform's own.

        Raises:
            ClientError: it does not, or with an error.
        """
        import httpx

        with httpx.Client(timeout=_TIMEOUT) as http:
            token = self._token or self._log_in(http)
            given = {name: value for name, value in query.items() if value is not None}
            headers = {"Authorization": f"Bearer {token}"}
            answer = self._send(http, "GET", f"{below}{path}", params=given, headers=headers)
        if answer.status_code == 401:
            raise ClientError(f"{self._url} does not accept the token: {_detail(answer)}")
        if answer.status_code == 403:
            raise ClientError(f"the user may not read that: {_detail(answer)}")
        if answer.is_success and _is_json(answer):
            return answer.json()
        if answer.status_code == 404 and _is_json(answer):
            raise ClientError(_detail(answer))
        if answer.is_success or answer.status_code == 404:
            raise ClientError(f"{self._url} is no api-server of airflow-platform: it does not know {below}{path}")
        raise ClientError(f"{self._url} answers {answer.status_code}: {_detail(answer)}")

    def _log_in(self, http: httpx.Client) -> str:
        credentials = {"username": self._user, "password": self._password}
        answer = self._send(http, "POST", "/auth/token", json=credentials)
        if answer.status_code in (400, 401, 403, 422):
            raise ClientError(f"user {self._user} could not log in at {self._url}: is the password right?")
        if not answer.is_success or not _is_json(answer) or "access_token" not in answer.json():
            raise ClientError(f"{self._url} gives no token ({answer.status_code}): set {TOKEN}")
        return answer.json()["access_token"]

    def _send(self, http: httpx.Client, method: str, path: str, **request: Any) -> httpx.Response:
        import httpx

        try:
            return http.request(method, f"{self._url}{path}", **request)
        except httpx.HTTPError as error:
            raise ClientError(f"{self._url} does not answer: {error or type(error).__name__}") from error
        except httpx.InvalidURL as error:
            raise ClientError(f"{self._url!r} is no address: {error}") from error


def _is_json(answer: httpx.Response) -> bool:
    return answer.headers.get("content-type", "").startswith("application/json")


def _detail(answer: httpx.Response) -> str:
    found = answer.json() if _is_json(answer) else {}
    detail = found.get("detail") if isinstance(found, dict) else None
    return str(detail or answer.reason_phrase)
