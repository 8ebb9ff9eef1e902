import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_platform import health

HEALTHY = {name: {"status": "healthy"} for name in ("metadatabase", "scheduler", "triggerer", "dag_processor")}


@pytest.fixture
def address(monkeypatch):
    """Serve these answers on loopback, one after the other and the last for ever; the address."""
    servers = []
    monkeypatch.setattr(health, "_EVERY", 0.01)

    def serve(*answers):
        left = list(answers)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                answer = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(answer if isinstance(answer, int) else 200)
                self.end_headers()
                self.wfile.write(json.dumps(answer if self.path == "/api/v2/monitor/health" else None).encode())

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_release_that_becomes_healthy_is_waited_for(address, capsys):
    starting = HEALTHY | {"scheduler": {"status": "unhealthy"}, "triggerer": {"status": None}}
    health.main([address(503, starting, HEALTHY), "metadatabase", "scheduler", "triggerer"])
    assert capsys.readouterr().out == "metadatabase: healthy\nscheduler: healthy\ntriggerer: healthy\n"


@pytest.mark.parametrize(("status", "said"), [("unhealthy", "triggerer: unhealthy"), (None, "triggerer: never seen")])
def test_one_component_that_is_away_fails_the_test_and_is_named(address, capsys, status, said):
    url = address(HEALTHY | {"triggerer": {"status": status}})
    with pytest.raises(SystemExit, match="Not all of the release is at work"):
        health.main([url, "scheduler", "triggerer", "--timeout", "0.05"])
    assert said in capsys.readouterr().out
    health.main([url, "scheduler"])


def test_an_api_server_that_does_not_answer_is_told_with_its_address(address):
    url = address(500)
    with pytest.raises(SystemExit, match=f"{url} gives no answer about its health: .*500"):
        health.main([url, "scheduler", "--timeout", "0.05"])
