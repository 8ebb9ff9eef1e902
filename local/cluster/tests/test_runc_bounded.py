import json
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "node" / "runc-bounded"
#: All of the first 41 capabilities but CAP_SYS_RESOURCE, bit 24.
BOUNDING = f"{(1 << 41) - 1 & ~(1 << 24):016x}"
ASKED = ["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"]
LEFT = ["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"]


@pytest.fixture
def runc(tmp_path):
    """Run the wrapper on a machine with this bounding set; the arguments that runc itself was given."""
    status, inner, seen = tmp_path / "status", tmp_path / "runc", tmp_path / "seen"
    status.write_text(f"Name:\tx\nCapEff:\t0000000000000000\nCapBnd:\t{BOUNDING}\n")
    inner.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {seen}\nexit 7\n')
    inner.chmod(0o755)
    text = SOURCE.read_text()
    for there, here in (('"/usr/sbin/runc"', inner), ('"/proc/self/status"', status)):
        assert text.count(there) == 1
        text = text.replace(there, f'"{here}"')
    wrapper = tmp_path / "runc-bounded"
    wrapper.write_text(text)

    def runc(*words, cwd=tmp_path):
        done = subprocess.run([sys.executable, wrapper, *map(str, words)], cwd=cwd, capture_output=True, text=True)
        assert done.returncode == 7, done.stderr  # runc's own
        return seen.read_text().splitlines()

    return runc


def bundle(folder):
    folder.mkdir(exist_ok=True)
    process = {"args": ["sh"], "capabilities": {"bounding": ASKED, "effective": ASKED, "ambient": None}}
    (folder / "config.json").write_text(json.dumps({"process": process, "root": {"path": "rootfs"}}))
    return folder


def read(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize("form", [["--bundle", "{}"], ["-b", "{}"], ["--bundle={}"]])
@pytest.mark.parametrize("command", ["create", "run"])
def test_a_container_asks_only_for_what_the_machine_has(runc, tmp_path, command, form):
    folder = bundle(tmp_path / "bundle")
    words = ["--root", "/run/runc", command, *(word.format(folder) for word in form), "--pid-file", "x", "id"]
    assert runc(*words) == words
    assert read(folder)["process"]["capabilities"] == {"bounding": LEFT, "effective": LEFT, "ambient": []}
    assert read(folder)["process"]["args"] == ["sh"]
    assert read(folder)["root"] == {"path": "rootfs"}


def test_without_a_bundle_it_is_the_working_folder(runc, tmp_path):
    folder = bundle(tmp_path / "bundle")
    runc("create", "id", cwd=folder)
    assert read(folder)["process"]["capabilities"]["bounding"] == LEFT


def test_exec_asks_only_for_what_the_machine_has(runc, tmp_path):
    file = tmp_path / "process.json"
    file.write_text(json.dumps({"args": ["run"], "capabilities": {"bounding": ASKED}}))
    runc("exec", "--process", file, "id")
    assert json.loads(file.read_text()) == {"args": ["run"], "capabilities": {"bounding": LEFT}}


def test_a_container_without_capabilities(runc, tmp_path):
    (tmp_path / "config.json").write_text('{"process": {"args": ["sh"]}}')
    runc("create", "--bundle", tmp_path, "id")
    assert read(tmp_path) == {"process": {"args": ["sh"]}}


@pytest.mark.parametrize("words", [["state", "id"], ["delete", "--force", "id"], ["--version"], []])
def test_other_commands_pass_unchanged(runc, words):
    assert runc(*words) == (words or [""])
