import json
import os
import subprocess

import pytest
from local.cluster import engine
from local.cluster.console import Problem


@pytest.fixture
def as_user(monkeypatch):
    """Run as this user id."""
    return lambda uid: monkeypatch.setattr(engine.os, "geteuid", lambda: uid)


def test_docker_missing_and_not_root(bare_machine, as_user):
    as_user(1000)
    with pytest.raises(Problem, match="Docker is missing and this is not root"):
        engine.ensure()


def test_docker_missing_on_a_system_without_apt(bare_machine, as_user):
    as_user(0)
    with pytest.raises(Problem, match="neither Debian nor Ubuntu"):
        engine.ensure()


def test_a_package_that_cannot_be_installed_fails_with_apts_own_words(bare_machine, as_user, fake):
    as_user(0)
    fake("apt-get", 'case "$1" in install) echo "E: Unable to locate package docker.io"; exit 100;; esac')
    with pytest.raises(Problem, match=r"installing docker.io failed \(exit 100\):\n +E: Unable to locate package"):
        engine.ensure()


def test_docker_host_that_does_not_answer_installs_nothing(bare_machine, as_user, fake, monkeypatch, tmp_path):
    as_user(0)
    fake("docker", "exit 1")
    fake("apt-get", f"echo > {tmp_path}/called")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(Problem, match="no Docker engine answers at DOCKER_HOST=tcp://127.0.0.1:1"):
        engine.ensure()
    assert not (tmp_path / "called").exists()


def test_an_engine_that_does_not_answer_to_this_user(bare_machine, as_user, fake):
    as_user(1000)
    fake("docker", "exit 1")
    fake("dockerd", "exit 1")
    with pytest.raises(Problem, match=r"does not answer to this user\n.*usermod -aG docker"):
        engine.ensure()


def test_an_engine_that_answers_is_used_as_it_is(bare_machine, as_user, fake, monkeypatch, tmp_path):
    as_user(1000)
    monkeypatch.setattr(engine, "DAEMON_JSON", tmp_path / "daemon.json")
    fake("docker", "exit 0")
    engine.ensure()
    assert not (tmp_path / "daemon.json").exists()


@pytest.fixture
def bounded(bare_machine, as_user, fake, monkeypatch, tmp_path):
    """A machine without CAP_SYS_RESOURCE; its daemon.json, and what was said to the running engine."""
    as_user(0)
    monkeypatch.setattr(engine, "_has_capability", lambda bit: bit != engine.SYS_RESOURCE)
    monkeypatch.setattr(engine, "DAEMON_JSON", tmp_path / "etc" / "daemon.json")
    monkeypatch.setattr(engine, "WRAPPER", tmp_path / "libexec" / "runc-bounded")
    (tmp_path / "etc").mkdir()
    fake("dockerd", "exit 1")
    # The engine's runtime is "runc" until it is told to read its configuration again.
    fake("docker", f'if [ "$1" = info ]; then if [ -e {tmp_path}/told ]; then echo bounded; else echo runc; fi; fi')
    fake("pkill", f'echo "$@" > {tmp_path}/told')
    return engine.DAEMON_JSON


def test_the_runtime_is_added_and_other_keys_stay(bounded, tmp_path):
    others = {"data-root": "/data", "runtimes": {"nvidia": {"path": "/usr/bin/nvidia"}}, "log-opts": {"max-size": "9m"}}
    bounded.write_text(json.dumps(others))
    engine.ensure()
    wrapper = engine.WRAPPER
    assert json.loads(bounded.read_text()) == {
        **others,
        "runtimes": {"nvidia": {"path": "/usr/bin/nvidia"}, "bounded": {"path": str(wrapper)}},
        "default-runtime": "bounded",
    }
    assert os.access(wrapper, os.X_OK)
    assert (tmp_path / "told").read_text() == "-HUP -x dockerd\n"


@pytest.mark.parametrize("text", [None, "", "\n", "{}", '{"runtimes": null}'])
def test_the_runtime_is_added_where_little_stands(bounded, text):
    if text is not None:
        bounded.write_text(text)
    engine.ensure()
    assert json.loads(bounded.read_text())["default-runtime"] == "bounded"
    assert list(json.loads(bounded.read_text())["runtimes"]) == ["bounded"]


def test_a_second_time_changes_nothing(bounded, tmp_path):
    engine.ensure()
    before = bounded.stat()
    (tmp_path / "told").write_text("before")
    engine.ensure()
    assert (bounded.stat().st_ino, bounded.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert (tmp_path / "told").read_text() == "before"


def test_who_may_read_daemon_json_stays(bounded):
    bounded.write_text('{"proxies": {"http-proxy": "http://user:secret@proxy"}}')
    bounded.chmod(0o600)
    engine.ensure()
    assert bounded.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "said"), [('{"data-root": ', "is not valid JSON"), ("[]", "does not hold a JSON object")]
)
def test_a_malformed_daemon_json_is_left_alone(bounded, text, said):
    bounded.write_text(text)
    with pytest.raises(Problem, match=f"{bounded} {said}"):
        engine.ensure()
    assert bounded.read_text() == text


@pytest.fixture
def process(fake):
    """A process with this name that runs until the test ends."""
    started = []

    def process(name):
        script = fake(name, "echo started; read line")
        started.append(subprocess.Popen([script], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        started[-1].stdout.readline()
        return started[-1]

    yield process
    for one in started:
        one.stdin.close()
        one.stdout.close()
        one.wait()


def test_the_pid_file_of_an_engine_that_runs_stays(process, tmp_path):
    pid_file = tmp_path / "docker.pid"
    pid_file.write_text(str(process("dockerd").pid))
    engine._remove_stale(pid_file)
    assert pid_file.exists()


def test_the_pid_file_of_another_program_is_stale(process, tmp_path):
    pid_file = tmp_path / "docker.pid"
    pid_file.write_text(str(process("other").pid))
    engine._remove_stale(pid_file)
    assert not pid_file.exists()


def test_the_pid_file_of_a_process_that_ended_is_stale(process, tmp_path):
    ended = process("dockerd")
    ended.communicate()
    pid_file = tmp_path / "docker.pid"
    pid_file.write_text(f"{ended.pid}\n")
    engine._remove_stale(pid_file)
    assert not pid_file.exists()


def test_no_pid_file_is_fine(tmp_path):
    engine._remove_stale(tmp_path / "docker.pid")


@pytest.mark.parametrize(("uid", "before", "after"), [(0, 128, 1024), (0, 8192, 8192), (1000, 128, 128)])
def test_the_limit_that_nodes_share_is_raised_by_root(as_user, tmp_path, monkeypatch, uid, before, after):
    limit = tmp_path / "max_user_instances"
    limit.write_text(f"{before}\n")
    monkeypatch.setattr(engine, "INOTIFY", limit)
    as_user(uid)
    engine._raise_inotify_limit()
    assert int(limit.read_text()) == after
