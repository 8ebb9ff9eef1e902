import json
import os

import pytest
from local.cluster import access, settings, toolchain

SECRETS = {
    ("git-credentials", "username"): "air/flow",
    ("git-credentials", "password"): "p/w:@?#",
    ("airflow-generated", "admin-password"): "admin-secret",
    ("airflow-s3", "access-key"): "key",
    ("airflow-s3", "secret-key"): "s3-secret",
}


@pytest.fixture(autouse=True)
def secrets(monkeypatch):
    monkeypatch.setattr(access, "secret", lambda namespace, name, key: SECRETS[name, key])


@pytest.fixture
def any_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_access_json_is_for_its_owner_alone(any_umask):
    access.FILE.write_text("{}")
    access.FILE.chmod(0o644)
    assert json.loads(json.dumps(access.write())) == json.loads(access.FILE.read_text())
    assert access.FILE.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in settings.STATE.iterdir()] == ["access.json"]


def test_it_names_what_a_person_needs(monkeypatch):
    monkeypatch.setenv("AIRFLOW_PLATFORM_UI_PORT", "18080")
    found = access.write()
    assert (found["ui"], found["user"], found["password"]) == ("http://localhost:18080", "admin", "admin-secret")
    # Signs that mean something in an address are quoted.
    assert found["git"] == "http://air%2Fflow:p%2Fw%3A%40%3F%23@localhost:8081/dags.git"
    assert found["s3"] == {
        "endpoint": "http://localhost:8082",
        "bucket": "airflow-logs",
        "key": "key",
        "secret": "s3-secret",
    }


def test_what_a_traceback_shows_has_no_secret():
    shown = repr(access.write())
    assert not any(secret in shown for secret in ("admin-secret", "s3-secret", "p%2Fw"))


def test_a_write_that_is_interrupted_leaves_the_old_file(monkeypatch):
    access.write()
    before = access.FILE.read_text()

    def half(content, file, **_):
        file.write('{"ui": ')
        raise KeyboardInterrupt

    monkeypatch.setattr(access.json, "dump", half)
    with pytest.raises(KeyboardInterrupt):
        access.write()
    assert access.FILE.read_text() == before


def test_the_pinned_programs_are_linked_again_when_they_change(monkeypatch, tmp_path):
    for version in ("go-1", "go-2"):
        (tmp_path / version).mkdir()
        for name in access.PROGRAMS:
            (tmp_path / version / name).write_text(version)
        monkeypatch.setattr(toolchain, "programs", lambda module, version=version: tmp_path / version)
        access.link_programs()
        access.link_programs()
        assert {name: (settings.STATE / "bin" / name).read_text() for name in access.PROGRAMS} == dict.fromkeys(
            ("kind", "kubectl", "helm"), version
        )


def test_a_link_to_a_cache_that_was_removed_is_made_again(monkeypatch, tmp_path):
    (settings.STATE / "bin").mkdir()
    (settings.STATE / "bin" / "kind").symlink_to(tmp_path / "gone")
    (tmp_path / "kind").write_text("there")
    monkeypatch.setattr(toolchain, "programs", lambda module: tmp_path)
    access.link_programs()
    assert (settings.STATE / "bin" / "kind").read_text() == "there"
