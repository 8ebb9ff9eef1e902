"""A registry that fails: it answers every request for ``<status>/<image>`` with that HTTP status."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from local.cluster import images, kind, settings
from local.cluster.console import run

CONTAINER = f"{settings.CLUSTER}-causes-registry"
PORT = 5000
#: What the container runs; ``/v2/429/report/manifests/1`` is answered by 429.
SERVER = f"""
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        status = self.path.split("/")[2]
        self.send_response(int(status) if status.isdigit() else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    do_HEAD = do_GET
HTTPServer(("0.0.0.0", {PORT}), Handler).serve_forever()
"""


@contextmanager
def running(name: str) -> Iterator[None]:
    """Around what pulls from it; the nodes know it by ``name``, which has a port."""
    (task,) = (one for one in images.tasks() if one.name == "ticket-extract")
    try:
        _remove()
        words = ["docker", "run", "--detach", "--name", CONTAINER, "--network", settings.NETWORK]
        words += ["--entrypoint", "python3", images.build(task), "-c", SERVER]
        run(words, log="causes", doing="starting the registry that fails")
        _tell_nodes(name)
        yield
    finally:
        _forget(name)
        _remove()


def _tell_nodes(name: str) -> None:
    """As `local.cluster.kind.trust_registry`; ``server`` too, or containerd would ask the name itself in the end."""
    form = f'{{{{(index .NetworkSettings.Networks "{settings.NETWORK}").IPAddress}}}}'
    address = subprocess.check_output(["docker", "inspect", "-f", form, CONTAINER], text=True).strip()
    url = f"http://{address}:{PORT}"
    for node in kind.nodes():
        script = f"mkdir -p '{_folder(name)}' && cat > '{_folder(name)}/hosts.toml'"
        words = ["docker", "exec", "-i", node, "sh", "-c", script]
        hosts = f'server = "{url}"\n[host."{url}"]\n'
        subprocess.run(words, input=hosts, text=True, check=True, capture_output=True)


def _forget(name: str) -> None:
    for node in kind.nodes():
        subprocess.run(["docker", "exec", node, "rm", "-rf", _folder(name)], check=False, capture_output=True)


def _folder(name: str) -> str:
    return f"/etc/containerd/certs.d/{name}"


def _remove() -> None:
    subprocess.run(["docker", "rm", "--force", CONTAINER], check=False, capture_output=True)
