"""Digests of images, as their registry has them (the distribution specification's API).

Credentials are those of Docker's configuration, ``~/.docker/config.json`` or where ``DOCKER_CONFIG`` says.
"""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_platform.command_error import CommandError

if TYPE_CHECKING:
    import httpx

_TIMEOUT = 20
#: An index is an image for several architectures; its digest comes first.
_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_DOCKER_HUB = "registry-1.docker.io"


def is_pinned(image: str) -> bool:
    """Whether the image's name has a digest."""
    return re.search(r"@sha256:[0-9a-f]{64}$", image) is not None


def pinned(image: str, registry: str) -> str:
    """The image's name with the digest that its registry has for it.

    Args:
        image: as a DAG names it, with a tag.
        registry: that of images whose name has no registry; empty: there is none.

    Raises:
        CommandError: there is no registry, it does not answer, or does not have the image.
    """
    if is_pinned(image):
        return image
    host, _, rest = image.partition("/")
    if not rest or not ("." in host or ":" in host or host == "localhost"):
        host, rest = registry.rstrip("/"), image
    if not host:
        raise CommandError(
            f"image {image} has no digest, and no registry is named that could say it. Name the one that the platform "
            f"pulls from, by --registry, or write the digest behind the version, in images.yaml: {image}@sha256:…"
        )
    host, _, prefix = host.partition("/")
    name, colon, tag = rest.rpartition(":")
    if not colon:
        raise CommandError(f"image {image} has no tag: name a version, which the registry knows its digest of")
    repository = f"{prefix}/{name}" if prefix else name
    return f"{image}@{_digest(host, repository, tag, image)}"


def _digest(host: str, repository: str, tag: str, image: str) -> str:
    import httpx

    local = host.split(":")[0] in ("localhost", "127.0.0.1")
    server = _DOCKER_HUB if host in ("docker.io", "index.docker.io") else host
    url = f"{'http' if local else 'https'}://{server}/v2/{repository}/manifests/{tag}"
    credentials = _credentials(host)
    headers = {"Accept": _ACCEPT}
    try:
        with httpx.Client(timeout=_TIMEOUT, follow_redirects=True) as http:
            answer = http.head(url, headers=headers)
            if answer.status_code == 401:
                headers["Authorization"] = _authorization(http, answer, credentials, host)
                answer = http.head(url, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandError(
            f"registry {host} does not answer ({error or type(error).__name__}), and image {image} has no digest. Try "
            f"again when it does, or write the digest behind the version, in images.yaml."
        ) from error
    if answer.status_code == 404:
        raise CommandError(f"registry {host} has no image {repository}:{tag}: push it first")
    if answer.status_code in (401, 403):
        raise CommandError(f"registry {host} does not let you read {repository}:{tag}: log in, by docker login {host}")
    digest = answer.headers.get("docker-content-digest", "")
    if not answer.is_success or not is_pinned(f"{image}@{digest}"):
        raise CommandError(f"registry {host} gives no digest of {repository}:{tag} ({answer.status_code})")
    return digest


def _credentials(host: str) -> str | None:
    """User and password, in Base64; None where Docker's configuration has none."""
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        known = json.loads(path.read_text()).get("auths") or {}
    except OSError:
        return None
    except ValueError as error:
        raise CommandError(f"{path} is not JSON: {error}") from error
    names = (host, f"https://{host}", "https://index.docker.io/v1/" if host == "docker.io" else host)
    return next((known[name]["auth"] for name in names if known.get(name, {}).get("auth")), None)


def _authorization(http: httpx.Client, answer: httpx.Response, credentials: str | None, host: str) -> str:
    """What the registry asks for: the credentials themselves, or a token that is given for them."""
    scheme, _, rest = answer.headers.get("www-authenticate", "").partition(" ")
    basic = f"Basic {credentials or base64.b64encode(b':').decode()}"
    if scheme.lower() != "bearer":
        return basic
    asked = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    realm = asked.pop("realm", "")
    given = http.get(realm, params=asked, headers={"Authorization": basic} if credentials else {})
    found = given.json() if given.is_success else {}
    token = found.get("token") or found.get("access_token")
    if not token:
        raise CommandError(f"registry {host} gives no token ({given.status_code}): log in, by docker login {host}")
    return f"Bearer {token}"
