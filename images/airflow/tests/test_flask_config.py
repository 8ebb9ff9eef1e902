import secrets

import pytest
from flask import Flask

from airflow_platform import flask_config


@pytest.fixture
def keys(monkeypatch):
    """The secrets of an api-server."""
    found = {"AIRFLOW__API__SECRET_KEY": secrets.token_hex(), "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32)}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


def test_sessions_have_a_key_that_is_no_other_and_stays(keys, monkeypatch):
    key = flask_config.settings({})["SECRET_KEY"]
    assert len(key) == 64
    assert key not in keys.values()
    assert flask_config.settings({})["SECRET_KEY"] == key
    # Who has the key by which logs are asked for knows nothing of it.
    monkeypatch.setenv("AIRFLOW__API__SECRET_KEY", "another")
    assert flask_config.settings({})["SECRET_KEY"] == key
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "another")
    assert flask_config.settings({})["SECRET_KEY"] != key


def test_without_a_secret_there_is_no_key_that_anybody_could_make(monkeypatch):
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "")
    assert "SECRET_KEY" not in flask_config.settings({})


@pytest.mark.parametrize("named", [True, False])
def test_a_file_of_the_user_s_holds_beside_the_key(keys, tmp_path, monkeypatch, named):
    path = tmp_path / "mine.py"
    path.write_text("import os\nfrom flask import current_app\nAUTH_ROLE_PUBLIC = current_app.name\nignored = 1\n")
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setattr(flask_config, "_DEFAULT", "/none" if named else str(path))
    with Flask("app").app_context():
        found = flask_config.settings({}, "$FOLDER/mine.py" if named else "")
    assert found == {"AUTH_ROLE_PUBLIC": "app", "SECRET_KEY": flask_config.settings({}, "/none")["SECRET_KEY"]}


def test_a_key_of_the_user_s_stays(keys, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("SECRET_KEY = 'mine'\n")
    assert flask_config.settings({}, str(path)) == {"SECRET_KEY": "mine"}
