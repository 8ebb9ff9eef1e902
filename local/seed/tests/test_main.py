import os
import subprocess
import sys

import pytest


def run(tmp_path, **environment):
    clients = tmp_path / "clients"
    clients.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "seed"],
        env={
            **os.environ,
            "SEED_DSN": "postgresql://postgres:secret@127.0.0.1:1/tickets",
            "SEED_CLIENTS": str(clients),
            "SEED_PATIENCE": "0",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize("name", ["SEED_DSN", "SEED_CLIENTS"])
def test_a_missing_variable_is_named(tmp_path, name):
    done = run(tmp_path, **{name: ""})
    assert done.returncode == 2
    assert f"{name} must be set" in done.stderr


def test_a_wrong_number_is_named(tmp_path):
    done = run(tmp_path, SEED_DAYS="sixty")
    assert done.returncode == 2
    assert "SEED_DAYS: expected a whole number, found 'sixty'" in done.stderr


def test_a_wrong_client_is_named(tmp_path):
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "Acme Inc").write_text("password")
    done = run(tmp_path)
    assert done.returncode == 2
    assert "'Acme Inc'" in done.stderr


def test_a_server_that_stays_away_is_one_line_without_the_password(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("seed: connection")
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr + done.stdout
