"""Kubernetes' own API server with its etcd, on loopback and with no cluster behind it: it admits pods, or does not."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubernetes.client import ApiClient, Configuration, VersionApi
from tests.chart.release import HELM
from urllib3.exceptions import HTTPError

#: They are built beside helm.
PROGRAMS = Path(shutil.which(HELM) or HELM).resolve().parent
TOKEN = "api-server-of-a-test"

needs_api_server = pytest.mark.skipif(
    not (PROGRAMS / "kube-apiserver").exists(), reason="no kube-apiserver beside helm: name that by $HELM"
)


class ApiServer:
    """Clients of an API server that lets everybody do everything: what it refuses is refused by its admission."""

    def __init__(self, port: int, certificate: Path) -> None:
        self._configuration = Configuration(host=f"https://127.0.0.1:{port}", api_key={"authorization": TOKEN})
        self._configuration.api_key_prefix = {"authorization": "Bearer"}
        self._configuration.ssl_ca_cert = str(certificate)
        self._configuration.retries = False

    def client(self, user: str = "") -> ApiClient:
        """A client of an administrator or, in their name, of another user."""
        return ApiClient(self._configuration, *(("Impersonate-User", user) if user else ()))


@contextlib.contextmanager
def running(folder: Path) -> Iterator[ApiServer]:
    """An API server whose data is in ``folder``. :raises TimeoutError: it does not come up; with what it said."""
    etcd, peer, port = _free_ports(3)
    key = folder / "service-accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
    commands = {
        "etcd": [
            f"--data-dir={folder}/etcd",
            f"--listen-client-urls=http://127.0.0.1:{etcd}",
            f"--advertise-client-urls=http://127.0.0.1:{etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        ],
        "kube-apiserver": [
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={folder}/certificates",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--token-auth-file={folder}/tokens.csv",
            "--authorization-mode=AlwaysAllow",
            "--allow-privileged=true",
        ],
    }
    with contextlib.ExitStack() as stack:
        for name, words in commands.items():
            log = stack.enter_context((folder / f"{name}.log").open("w"))
            process = subprocess.Popen([PROGRAMS / name, *words], stdout=log, stderr=subprocess.STDOUT)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
        yield _ready(port, folder)


def _ready(port: int, folder: Path) -> ApiServer:
    certificate = folder / "certificates" / "apiserver.crt"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if certificate.exists():
            server = ApiServer(port, certificate)
            with contextlib.suppress(HTTPError):
                VersionApi(server.client()).get_code()
                return server
        time.sleep(0.2)
    raise TimeoutError((folder / "kube-apiserver.log").read_text()[-2000:])


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
