"""The chart can be signed, and an archive that is not what was signed is refused: docs/security.md."""

import os
import shutil
import subprocess

import pytest
from tests.chart.release import CHART, HELM, needs_helm

pytestmark = [needs_helm, pytest.mark.skipif(shutil.which("gpg") is None, reason="no gpg")]


@pytest.fixture
def run(tmp_path):
    # Its agent's socket is in there, and a socket's name is short.
    home = tmp_path / "g"
    home.mkdir(mode=0o700)
    env = os.environ | {"GNUPGHOME": str(home)}

    def run(*words, ok=True):
        done = subprocess.run(words, capture_output=True, env=env, check=False)
        assert (done.returncode == 0) == ok, done.stderr.decode()
        return done.stdout

    yield run
    run("gpgconf", "--kill", "all")


def test_a_signed_chart_is_verified_and_a_changed_one_is_not(run, tmp_path):
    key = ("Releases <releases@example.com>", "rsa2048", "sign", "never")
    run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", *key)
    secret, public = tmp_path / "secret.gpg", tmp_path / "public.gpg"
    secret.write_bytes(run("gpg", "--batch", "--export-secret-keys"))
    public.write_bytes(run("gpg", "--export"))
    words = ("--sign", "--key", "Releases", "--keyring", secret, "--destination", tmp_path)
    run(HELM, "package", CHART, *words)
    (archive,) = tmp_path.glob("*.tgz")
    run(HELM, "verify", archive, "--keyring", public)
    archive.write_bytes(archive.read_bytes() + b"\0")
    run(HELM, "verify", archive, "--keyring", public, ok=False)
