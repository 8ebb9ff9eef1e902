import base64
import json
from http.server import BaseHTTPRequestHandler

import pytest
from local.cluster import images, registry, settings
from local.cluster.console import Problem
from local.cluster.images import Image


@pytest.fixture
def registry_server(serve, fake, tmp_path, monkeypatch):
    """An engine that keeps the password it was given, and a registry that wants it: its folder, its manifests."""
    folder = tmp_path / "engine"
    folder.mkdir()
    manifests = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            user, _, password = base64.b64decode(self.headers["Authorization"].split()[1]).decode().partition(":")
            kept = folder / "password"
            right = kept.exists() and (user, password) == (registry.USER, kept.read_text())
            found = right and (b"{}" if self.path == "/v2/" else manifests.get(self.path))
            self.send_response(200 if found else 404 if right else 401)
            if found and self.path != "/v2/":
                self.send_header("Docker-Content-Digest", "sha256:manifest")
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_):
            pass

    fake(
        "docker",
        f"""
        cd {folder}
        echo "$@" >> arguments
        case "$1" in
          inspect) [ -e password ] || exit 1; printf '["PATH=/bin","REGISTRY_PASSWORD=%s"]' "$(cat password)";;
          run) printf %s "$REGISTRY_PASSWORD" > password;;
          image) cat id;;
          ps) echo node1; echo node2;;
          --config) cp "$2/config.json" config.json;;
        esac""",
    )
    (folder / "id").write_text("sha256:config\n")
    monkeypatch.setenv("AIRFLOW_PLATFORM_REGISTRY_PORT", str(serve(Handler)))
    monkeypatch.setattr(images, "build", lambda image: f"airflow-platform/{image.name}:built")
    monkeypatch.setattr(Image, "tag", lambda image: "1.0.0")
    return folder, manifests


@pytest.fixture
def engine(registry_server):
    return registry_server[0]


@pytest.fixture
def manifests(registry_server):
    return registry_server[1]


def told(engine, word):
    return [line for line in (engine / "arguments").read_text().splitlines() if line.startswith(word)]


def test_the_registry_is_started_once_on_this_machine_alone(engine):
    registry.ensure()
    registry.ensure()
    (run,) = told(engine, "run")
    assert f"--publish 127.0.0.1:{settings.port('registry')}:5000" in run
    assert f"--network {settings.NETWORK}" in run
    assert f"--volume {settings.REGISTRY_VOLUME}:/var/lib/registry" in run


def test_its_password_is_new_and_in_no_argument_or_log(engine):
    registry.ensure()
    password = (engine / "password").read_text()
    assert len(password) >= 32
    assert password not in (engine / "arguments").read_text()
    assert password not in "".join(path.read_text() for path in (settings.STATE / "log").iterdir())
    (engine / "password").unlink()
    registry.ensure()
    assert (engine / "password").read_text() != password


def test_clients_are_given_its_credentials(engine):
    (engine / "password").write_text("pass:word=1")
    config = json.loads(registry.docker_config())
    ((host, entry),) = config["auths"].items()
    assert host == settings.registry()
    assert base64.b64decode(entry["auth"]).decode() == "airflow-platform:pass:word=1"


IMAGE = Image("ticket-extract", settings.REPO)
MANIFEST = "/v2/ticket-extract/manifests/1.0.0"


def test_an_image_that_the_registry_has_not_is_pushed(engine):
    registry.ensure()
    registry.push([IMAGE])
    remote = f"{settings.registry()}/ticket-extract:1.0.0"
    assert told(engine, "tag") == [f"tag airflow-platform/ticket-extract:built {remote}"]
    (push,) = told(engine, "--config")
    assert push.endswith(f" push {remote}")
    assert (engine / "config.json").read_text() == registry.docker_config()
    assert not told(engine, "exec")


@pytest.mark.parametrize("engine_id", ["sha256:config", "sha256:manifest"], ids=["overlay2", "containerd"])
def test_an_image_that_the_registry_has_is_not_pushed(engine, manifests, engine_id):
    (engine / "id").write_text(engine_id)
    manifests[MANIFEST] = json.dumps({"config": {"digest": "sha256:config"}}).encode()
    registry.ensure()
    registry.push([IMAGE])
    assert not told(engine, "--config")


def test_a_version_whose_content_changed_is_taken_off_the_nodes(engine, manifests, capsys):
    manifests[MANIFEST] = json.dumps({"config": {"digest": "sha256:older"}}).encode()
    registry.ensure()
    registry.push([IMAGE])
    assert told(engine, "--config")
    assert [line.split()[1] for line in told(engine, "exec")] == ["node1", "node2"]
    assert "raise VERSION" in capsys.readouterr().out


def test_a_push_that_fails_says_why(engine, fake):
    registry.ensure()
    fake(
        "docker",
        'case "$1" in image) echo sha256:x;; --config) echo "denied: no space"; exit 1;; inspect) exit 1;; esac',
    )
    with pytest.raises(Problem, match=r"pushing .*/ticket-extract:1.0.0 failed .*\n.*denied: no space"):
        registry.push([IMAGE])
