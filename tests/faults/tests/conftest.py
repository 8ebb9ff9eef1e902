"""What the tests of this test share."""

import threading

import pytest
from tests.faults.ledger_server import Server


@pytest.fixture
def ledger():
    """A ledger on a port of this machine, which keeps a question for a tenth of a second."""
    server = Server(("127.0.0.1", 0), held=0.1)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def url(ledger):
    """The ledger's address."""
    return f"http://127.0.0.1:{ledger.server_address[1]}"
