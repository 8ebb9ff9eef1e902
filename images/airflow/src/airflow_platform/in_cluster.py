"""The API server of the cluster that this pod runs in, for a command that asks it once or twice.

By Python's own library: a client of Kubernetes takes longer to import than such a command to run.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

#: Where the pod's token is.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

#: Sends a request to the API server: method, path, body and content type to status and body.
Api = Callable[[str, str, dict[str, Any] | None, str], tuple[int, dict[str, Any]]]


def api_server(account: Path = ACCOUNT) -> Api:
    """The API server that this pod's token is for, by its environment.

    The function that is returned raises OSError where the server does not answer; an error that it answers with is a
    status like any other.

    Raises:
        OSError: this is no pod, or it has no token.
    """
    try:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    except KeyError as error:
        raise OSError(f"{error.args[0]} is not set: this runs in a pod alone") from None
    tls = ssl.create_default_context(cafile=str(account / "ca.crt"))

    def request(method: str, path: str, body: dict[str, Any] | None, content_type: str) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {(account / 'token').read_text()}", "Content-Type": content_type}
        data = None if body is None else json.dumps(body)
        with closing(HTTPSConnection(host, int(port), context=tls, timeout=30)) as connection:
            try:
                connection.request(method, path, data, headers)
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read() or b"{}")
            except HTTPException as error:
                raise OSError(f"{host}: {error!r}") from error

    return request
