import os
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from airflow_platform import celery_heartbeat


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder for temporary files of its own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def beaten():
    """Have the last heartbeat be so many seconds ago."""

    def ago(seconds):
        celery_heartbeat.path().touch()
        then = time.time() - seconds
        os.utime(celery_heartbeat.path(), (then, then))

    return ago


@pytest.fixture
def broker(monkeypatch):
    """A broker that says what Redis says to a stranger; the address that it listens at."""

    class Broker(socketserver.StreamRequestHandler):
        def handle(self):
            if self.rfile.readline() == b"PING\r\n":
                self.wfile.write(b"-NOAUTH Authentication required.\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Broker) as server:
        threading.Thread(target=server.serve_forever, args=[0.01]).start()
        host, port = server.server_address
        monkeypatch.setenv(celery_heartbeat.BROKER_VARIABLE, f"redis://:a%2Fpassword@{host}:{port}/0")
        yield f"{host}:{port}"
        server.shutdown()


@pytest.fixture(params=["nothing listens", "nothing answers", "the connection is closed"])
def broker_away(request, monkeypatch):
    """The ways in which a broker can be away, the last one a proxy's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        monkeypatch.setenv(celery_heartbeat.BROKER_VARIABLE, f"redis://:a%2Fpassword@{host}:{port}/0")
        if request.param == "nothing listens":
            server.close()
        elif request.param == "the connection is closed":
            threading.Thread(target=lambda: server.accept()[0].close()).start()
        yield


def test_a_worker_touches_the_file_at_each_heartbeat():
    from celery.signals import heartbeat_sent

    celery_heartbeat.keep()
    celery_heartbeat.keep()
    assert celery_heartbeat.age() is None
    answers = heartbeat_sent.send(sender=None)
    assert [error for _, error in answers] == [None]
    celery_heartbeat.main([])


@pytest.mark.parametrize("arguments", [[], ["--without-broker"]])
def test_a_stale_heartbeat_is_dead_while_the_broker_answers(beaten, broker, arguments):
    beaten(31)
    with pytest.raises(SystemExit, match="the last heartbeat is 31 s old, more than 30 s"):
        celery_heartbeat.main(arguments)


def test_an_age_that_is_allowed_is_alive(beaten):
    beaten(100)
    celery_heartbeat.main(["--max-age", "120"])


def test_a_worker_that_has_not_begun_is_not_alive():
    with pytest.raises(SystemExit, match="no heartbeat of Celery on "):
        celery_heartbeat.main([])


def test_a_worker_that_runs_survives_the_broker(beaten, broker_away, capsys):
    beaten(600)
    celery_heartbeat.main(["--without-broker"])
    assert capsys.readouterr().out == "unknown: the broker does not answer\n"


def test_a_start_needs_the_broker(beaten):
    beaten(600)
    with pytest.raises(SystemExit, match="600 s old"):
        celery_heartbeat.main([])


def test_the_first_of_several_brokers_is_asked(broker):
    assert celery_heartbeat.answers(f"sentinel://{broker};sentinel://127.0.0.1:1")
    assert not celery_heartbeat.answers(f"sentinel://127.0.0.1:1;sentinel://{broker}")


def test_a_broker_that_should_speak_tls_and_does_not_is_away(broker):
    assert not celery_heartbeat.answers(f"rediss://{broker}/0")


def test_a_certificate_is_celerys_to_check(tmp_path):
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=broker", "-days", "1"]
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate")]
    subprocess.run([*command, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            with context.wrap_socket(server.accept()[0], server_side=True) as connection:
                connection.recv(6)
                connection.sendall(b"+PONG")

        threading.Thread(target=answer).start()
        assert celery_heartbeat.answers(f"rediss://127.0.0.1:{server.getsockname()[1]}/0")


def test_a_probe_imports_neither_airflow_nor_celery():
    code = (
        "import sys; from airflow_platform import celery_heartbeat as h; h.age(); "
        "sys.exit(str({'airflow', 'celery'} & {name.split('.')[0] for name in sys.modules} or 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "0"
