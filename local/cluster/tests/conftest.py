"""A machine of its own for each test: empty state and cache, fakes only where Docker or a cluster would be."""

import os
import threading
from http.server import ThreadingHTTPServer

import pytest
from local.cluster import access, failure, images, settings


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Nothing of the real cluster's state is read or written."""
    state, cache = tmp_path / "state", tmp_path / "cache"
    monkeypatch.setattr(settings, "STATE", state)
    monkeypatch.setattr(settings, "CACHE", cache)
    monkeypatch.setattr(access, "FILE", state / "access.json")
    monkeypatch.setattr(failure, "FOLDER", state / "failure")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    for variable in ("DOCKER_HOST", "SSL_CERT_FILE", *(variable for variable, _, _ in settings.PORTS.values())):
        monkeypatch.delenv(variable, raising=False)
    for cached in (images._base, images.reachable, images._has_buildx):
        cached.cache_clear()
    state.mkdir(mode=0o700)
    cache.mkdir()


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder at the head of PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def bare_machine(programs, monkeypatch):
    """Nothing is installed but what the test puts into this folder."""
    monkeypatch.setenv("PATH", str(programs))
    return programs


@pytest.fixture
def fake(programs):
    """Put a shell script where a program would be."""

    def fake(name, script, folder=programs):
        folder.mkdir(exist_ok=True)
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return fake


@pytest.fixture
def serve():
    """Run an HTTP server with this handler on a free port; the port."""
    running = []

    def serve(handler):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        running.append((server, thread))
        return server.server_port

    yield serve
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()
