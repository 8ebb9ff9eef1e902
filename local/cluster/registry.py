"""A private image registry beside the cluster: the host pushes to it, the nodes pull from it, with a password."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from local.cluster import images, kind, settings
from local.cluster.console import run, step, wait_for
from local.cluster.images import Image

USER = "airflow-platform"
IMAGE = Image("local/registry", settings.REPO / "local" / "registry")


def ensure() -> None:
    """The registry runs, on kind's network and on its host port. :raises Problem: it does not answer."""
    if _answers():
        return
    image = images.build(IMAGE)
    with step("Image registry: starting it") as current:
        subprocess.run(["docker", "rm", "-f", settings.REGISTRY_CONTAINER], capture_output=True, check=False)
        run(
            [
                *("docker", "run", "--detach", "--name", settings.REGISTRY_CONTAINER, "--network", settings.NETWORK),
                *("--publish", f"127.0.0.1:{settings.port('registry')}:5000"),
                *("--volume", f"{settings.REGISTRY_VOLUME}:/var/lib/registry"),
                *("--env", "REGISTRY_USER", "--env", "REGISTRY_PASSWORD"),
                image,
            ],
            log="registry",
            env={"REGISTRY_USER": USER, "REGISTRY_PASSWORD": secrets.token_urlsafe(24)},
            doing="starting the registry",
        )
        wait_for("the image registry", _answers, seconds=30, every=0.2)
        current.note(settings.registry())


def remove() -> None:
    """Remove the container; the volume with what was pushed stays."""
    subprocess.run(["docker", "rm", "-f", settings.REGISTRY_CONTAINER], capture_output=True, check=False)


def docker_config() -> str:
    """A Docker client configuration, as JSON, with the registry's credentials: also the content of a pull secret."""
    token = base64.b64encode(f"{USER}:{_password()}".encode()).decode()
    return json.dumps({"auths": {settings.registry(): {"auth": token}}})


def _password() -> str:
    """What the running container was started with: it is the one place where the password stands."""
    found = subprocess.run(
        ["docker", "inspect", "-f", "{{json .Config.Env}}", settings.REGISTRY_CONTAINER],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        return ""
    return dict(entry.split("=", 1) for entry in json.loads(found.stdout)).get("REGISTRY_PASSWORD", "")


def _url(path: str) -> str:
    return f"http://{settings.registry()}/v2/{path}"


def _answers() -> bool:
    password = _password()
    if not password:
        return False
    try:
        return requests.get(_url(""), auth=(USER, password), timeout=3).ok
    except requests.RequestException:
        return False


def reference(image: Image) -> str:
    """What a pod names to run this image."""
    return f"{settings.registry()}/{image.name}:{image.tag()}"


def push(wanted: list[Image]) -> None:
    """Build and push what the registry does not have yet.

    A version whose content changed is pushed again and taken off the nodes, which would go on with the old one;
    a real registry would rightly refuse it.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(_push_one, wanted))


def _push_one(image: Image) -> None:
    built = images.build(image)
    digest = subprocess.check_output(["docker", "image", "inspect", "-f", "{{.Id}}", built], text=True).strip()
    there = _digests(image)
    if digest in there:
        return
    remote = reference(image)
    with step(f"Image {image.name}:{image.tag()}: pushing") as current, tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(docker_config())
        run(["docker", "tag", built, remote], log="push")
        run(["docker", "--config", folder, "push", remote], log="push", doing=f"pushing {remote}")
        if there:
            current.note(
                "its content changed but not its VERSION: taken off the nodes; raise VERSION before a real push"
            )
            for node in kind.nodes():
                words = ["docker", "exec", node, "ctr", "-n", "k8s.io", "images", "rm", remote]
                subprocess.run(words, capture_output=True, check=False)


def _digests(image: Image) -> set[str]:
    """What an engine may call the image that the registry has under this tag; empty where it has none.

    An image's id is the digest of its configuration, or with containerd's image store that of its manifest or index.
    """
    docker, oci = "application/vnd.docker.distribution.manifest", "application/vnd.oci.image"
    accept = f"{docker}.v2+json, {docker}.list.v2+json, {oci}.manifest.v1+json, {oci}.index.v1+json"
    answer = requests.get(
        _url(f"{image.name}/manifests/{image.tag()}"),
        auth=(USER, _password()),
        headers={"Accept": accept},
        timeout=10,
    )
    if not answer.ok:
        return set()
    found = {answer.headers.get("Docker-Content-Digest"), answer.json().get("config", {}).get("digest")}
    return {digest for digest in found if digest}
