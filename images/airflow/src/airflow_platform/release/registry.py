"""Digests of images, as their registry has them (the distribution specification's API).

Credentials are those of Docker's configuration, ``~/.docker/config.json`` or where ``DOCKER_CONFIG`` says, and of the
helpers that it names.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
#: Names of Docker Hub; its API is elsewhere, its credentials have an address of old, and its own images a folder.
_DOCKER_HUB = ("docker.io", "index.docker.io")
_HUB_API, _HUB_KEY, _HUB_FOLDER = "registry-1.docker.io", "https://index.docker.io/v1/", "library"
#: What a helper calls the user where the secret is no password, but an identity token.
_IDENTITY = "<token>"


@dataclass(frozen=True)
class _Access:
    """Credentials of a registry: user and password, in Base64, or an identity token. ``advice``: if they do not do."""

    advice: str
    basic: str = field(default="", repr=False)
    identity: str = field(default="", repr=False)


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
    if host in _DOCKER_HUB and "/" not in repository:
        repository = f"{_HUB_FOLDER}/{repository}"
    return f"{image}@{_digest(host, repository, tag, image)}"


def _digest(host: str, repository: str, tag: str, image: str) -> str:
    import httpx

    local = host.split(":")[0] in ("localhost", "127.0.0.1")
    server = _HUB_API if host in _DOCKER_HUB else host
    url = f"{'http' if local else 'https'}://{server}/v2/{repository}/manifests/{tag}"
    access = _Access(_log_in(host))
    headers = {"Accept": _ACCEPT}
    try:
        with httpx.Client(timeout=_TIMEOUT, follow_redirects=True) as http:
            answer = http.head(url, headers=headers)
            if answer.status_code == 401:
                access = _access(host)
                headers["Authorization"] = _authorization(http, answer, access, host)
                answer = http.head(url, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandError(
            f"registry {host} does not answer ({error or type(error).__name__}), and image {image} has no digest. Try "
            f"again when it does, or write the digest behind the version, in images.yaml."
        ) from error
    if answer.status_code == 404:
        raise CommandError(f"registry {host} has no image {repository}:{tag}: push it first")
    if answer.status_code in (401, 403):
        raise CommandError(f"registry {host} does not let you read {repository}:{tag}: {access.advice}")
    digest = answer.headers.get("docker-content-digest", "")
    if not answer.is_success or not is_pinned(f"{image}@{digest}"):
        raise CommandError(f"registry {host} gives no digest of {repository}:{tag} ({answer.status_code})")
    return digest


def _log_in(host: str) -> str:
    return f"log in, by docker login {host}"


def _access(host: str) -> _Access:
    """What Docker's configuration has for a registry.

    Raises:
        CommandError: it is malformed.
    """
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        found = json.loads(path.read_text())
        names = (host, f"https://{host}", *((_HUB_KEY,) if host in _DOCKER_HUB else ()))
        own = _first(found.get("credHelpers"), names)
        entry = _first(found.get("auths"), names) or {}
        basic, identity = entry.get("auth", ""), entry.get("identitytoken", "")
        helper = own or (None if basic or identity else found.get("credsStore"))
    except OSError:
        return _Access(_log_in(host))
    except (ValueError, AttributeError) as error:
        raise CommandError(f"{path} is no configuration of Docker's: {error}") from error
    return _helped(helper, host, path) if helper else _Access(_log_in(host), basic, identity)


def _first(known: Mapping[str, Any] | None, names: tuple[str, ...]) -> Any:
    return next((known[name] for name in names if known.get(name)), None) if known else None


def _helped(helper: str, host: str, path: Path) -> _Access:
    """What a credential helper has for a registry; where it has nothing, ``advice`` says why.

    No error yet: an image that everybody may read needs no credentials.
    """
    program = f"docker-credential-{helper}"
    server = _HUB_KEY if host in _DOCKER_HUB else host
    try:
        done = subprocess.run(
            [program, "get"], input=server, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT
        )
    except FileNotFoundError:
        return _Access(f"{program}, which {path} names, is not there: install it, or {_log_in(host)} without it")
    except OSError as error:
        return _Access(f"{program}, which {path} names, cannot be run ({error.strerror})")
    except subprocess.TimeoutExpired:
        return _Access(f"{program} did not end within {_TIMEOUT} seconds: does it ask for something?")
    if done.returncode:
        # What it says is an error, on either; JSON would be the secret.
        said = (" ".join(text.split()) for text in (done.stdout, done.stderr))
        why = next((text for text in said if text and "{" not in text), f"exit code {done.returncode}")
        return _Access(f"{program} has no credentials for {server} ({why}): {_log_in(host)}, or as it wants you to")
    try:
        answer = json.loads(done.stdout)
        user, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError):
        # Without its cause, which quotes the secret.
        return _Access(f"{program} gives no Username and Secret for {server}: is it a credential helper of Docker's?")
    advice = f"what {program} gives for {server} is refused: {_log_in(host)} anew, or ask for the right to pull"
    if user == _IDENTITY:
        return _Access(advice, identity=secret)
    # Some say so that they have none.
    return _Access(advice, basic=base64.b64encode(f"{user}:{secret}".encode()).decode() if secret else "")


def _authorization(http: httpx.Client, answer: httpx.Response, access: _Access, host: str) -> str:
    """What the registry asks for: the credentials themselves, or a token that is given for them."""
    scheme, _, rest = answer.headers.get("www-authenticate", "").partition(" ")
    basic = f"Basic {access.basic or base64.b64encode(b':').decode()}"
    if scheme.lower() != "bearer":
        return basic
    asked = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    realm = asked.pop("realm", "")
    if access.identity:
        form = {"grant_type": "refresh_token", "refresh_token": access.identity, "client_id": "airflow-platform"}
        given = http.post(realm, data=asked | form)
    else:
        given = http.get(realm, params=asked, headers={"Authorization": basic} if access.basic else {})
    try:
        found = given.json() if given.is_success else {}
        token = found.get("token") or found.get("access_token")
    except (ValueError, AttributeError) as error:
        raise CommandError(
            f"registry {host} gives no token, but what is no JSON of one ({realm}): is that a proxy's page?"
        ) from error
    if not token:
        raise CommandError(f"registry {host} gives no token ({given.status_code}): {access.advice}")
    return f"Bearer {token}"
