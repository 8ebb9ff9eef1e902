"""The api-server, for commands outside of the cluster: Airflow's REST API, and the platform's own routes beside it.

Who asks is a user of Airflow: by a token, or by name and password, for which ``/auth/token`` gives one.
"""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from airflow_platform.command_error import CommandError
from airflow_platform.ui import PREFIX

if TYPE_CHECKING:
    import httpx

URL, TOKEN, USER, PASSWORD = (f"AIRFLOW_PLATFORM_{name}" for name in ("URL", "TOKEN", "USER", "PASSWORD"))

#: Seconds for one answer.
_TIMEOUT = 60


#: Seconds for which an api-server that has answered before may be away, as when it is restarted, and between tries.
_PATIENCE, _PAUSE = 120, 2.0

#: Where Airflow's REST API is, below the api-server's address.
_API = "/api/v2"

#: What a proxy answers while no api-server is behind it.
AWAY = (502, 503, 504)


class ClientError(CommandError):
    """What was asked cannot be answered; the message says why, and what to do."""


class AwayError(ClientError):
    """The api-server does not answer; it may a moment later."""


class NotFoundError(ClientError):
    """The api-server does not know what was asked for."""


class ConflictError(ClientError):
    """What was to be made is there already."""


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
        #: The token that was given for the password, and the connections that are kept.
        self._given: str | None = None
        self._http: httpx.Client | None = None
        self._has_answered = False

    @classmethod
    def of(cls, options: Namespace, *, or_else: str = "") -> Client:
        """The api-server that the options name.

        Args:
            options: those of `add_options`.
            or_else: what else can be done where they name none.

        Raises:
            ClientError: they name none, or nobody who asks.
        """
        if not options.url:
            raise ClientError(
                f"where is the api-server? Set {URL} or --url, such as https://airflow.example.com{or_else}"
            )
        if not options.url.startswith(("http://", "https://")):
            raise ClientError(f"{options.url!r} is no address of an api-server: it begins with http:// or https://")
        token, password = os.environ.get(TOKEN), os.environ.get(PASSWORD)
        if not token and not (options.user and password):
            raise ClientError(f"who asks? Set {TOKEN}, or --user and {PASSWORD}")
        return cls(options.url, token=token, user=options.user, password=password)

    @property
    def url(self) -> str:
        """The api-server's address, without a slash at its end."""
        return self._url

    def get(self, path: str, *, below: str = PREFIX, **query: Any) -> dict[str, Any]:
        """What a route answers, by default one of the platform's own.

        Raises:
            ClientError: it does not, or with an error.
        """
        return self._ask("GET", f"{below}{path}", query)

    def api(self, method: str, path: str, *, body: Any = None, **query: Any) -> dict[str, Any]:
        """What a route of Airflow's REST API answers, such as ``/dags/my_dag``.

        Where the answer is lost, the request is sent again: one that makes something may find it made.

        Raises:
            ClientError: it does not, or with an error.
        """
        return self._ask(method, f"{_API}{path}", query, body)

    def _ask(self, method: str, path: str, query: dict[str, Any], body: Any = None) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                found = self._ask_once(method, path, query, body)
                self._has_answered = True
                return found
            except AwayError:
                # An address that never answered is more likely wrong than away.
                if not self._has_answered or time.monotonic() + _PAUSE > deadline:
                    raise
                time.sleep(_PAUSE)

    def _ask_once(self, method: str, path: str, query: dict[str, Any], body: Any) -> dict[str, Any]:
        answer = self._send_as_user(method, path, query, body)
        if _token_refused(answer) and self._password:
            # A token that was given for the password holds for some hours, and until the key of tokens is replaced.
            self._given = None
            answer = self._send_as_user(method, path, query, body)
        if answer.is_success and _is_json(answer):
            return answer.json()
        raise self._error(method, path, answer)

    def _send_as_user(self, method: str, path: str, query: dict[str, Any], body: Any) -> httpx.Response:
        if self._http is None:
            import httpx

            self._http = httpx.Client(timeout=_TIMEOUT)
        if (token := self._token or self._given) is None:
            token = self._given = self._log_in(self._http)
        given = {name: value for name, value in query.items() if value is not None}
        request = {"params": given, "headers": {"Authorization": f"Bearer {token}"}}
        return self._send(self._http, method, path, **request, **({} if body is None else {"json": body}))

    def _error(self, method: str, path: str, answer: httpx.Response) -> ClientError:
        status, detail = answer.status_code, _detail(answer)
        if _token_refused(answer):
            return ClientError(f"{self._url} does not accept the token: {detail}")
        if status == 403:
            return ClientError(f"the user may not {'read' if method == 'GET' else 'do'} that: {detail}")
        if status == 404 and _is_json(answer):
            return NotFoundError(detail)
        if answer.is_success or status == 404:
            return ClientError(f"{self._url} is no api-server of airflow-platform: it does not know {path}")
        kind = ConflictError if status == 409 else AwayError if status in AWAY else ClientError
        return kind(f"{self._url} answers {status}: {detail}")

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
            raise AwayError(f"{self._url} does not answer: {error or type(error).__name__}") from error
        except httpx.InvalidURL as error:
            raise ClientError(f"{self._url!r} is no address: {error}") from error


def _is_json(answer: httpx.Response) -> bool:
    return answer.headers.get("content-type", "").startswith("application/json")


def _token_refused(answer: httpx.Response) -> bool:
    """Whether it is the token that is refused, and not the user (airflow.api_fastapi.core_api.security,
    ``resolve_user_from_token``)."""
    return answer.status_code == 401 or (answer.status_code == 403 and _detail(answer) == "Invalid JWT token")


def _detail(answer: httpx.Response) -> str:
    found = answer.json() if _is_json(answer) else {}
    detail = found.get("detail") if isinstance(found, dict) else None
    if isinstance(detail, list):
        # What FastAPI says of each field that it does not take.
        said = [f"{'.'.join(map(str, one.get('loc', ())))}: {one.get('msg')}" for one in detail]
        return "; ".join(said)
    if isinstance(detail, dict):
        return str(detail.get("reason") or detail)
    return str(detail or answer.reason_phrase)
