"""Container images: built once for each content, and pushed where the nodes pull from."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import BinaryIO

import requests
from local.cluster import settings
from local.cluster.console import Problem, run, step

#: Debian, with nothing added: what every Dockerfile here starts from.
DEBIAN = "debian:bookworm-slim"
SUITE = "bookworm"
#: Several images may be built at once, and all start from this one.
_making_base = threading.Lock()
DOCKER_HUB = "registry-1.docker.io"


@dataclass(frozen=True)
class Image:
    """A folder with a Dockerfile.

    ``name`` is the repository in the registry; ``programs`` are files added to the context as ``bin/<name>``.
    """

    name: str
    folder: Path
    target: str = "runtime"
    programs: Mapping[str, Path] = field(default_factory=dict, hash=False)
    build_args: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def version(self) -> str | None:
        """The content of the folder's VERSION file, for a task image; None for another."""
        path = self.folder / "VERSION"
        return path.read_text().strip() if path.exists() else None

    def built(self) -> str:
        """The name of the built image in the Docker engine; its tag is the hash of all that goes in."""
        return f"airflow-platform/{self.name}:{self._key()}"

    def tag(self) -> str:
        """The tag in the registry: the VERSION, or the hash of the content."""
        return self.version or self._key()

    def _key(self) -> str:
        digest = hashlib.sha256(f"{self.target} {base()} {sorted(self.build_args.items())}".encode())
        for path in _context_files(self.folder, self.target):
            mode = "x" if path.stat().st_mode & stat.S_IXUSR else "-"
            digest.update(f"\n{path.relative_to(self.folder)} {mode} ".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        for name, path in sorted(self.programs.items()):
            digest.update(f"\n{name} {path.parent.name}".encode())
        return digest.hexdigest()[:12]


def airflow(root: Path) -> Image:
    """The Airflow image of a checkout."""
    return Image("airflow", root / "images" / "airflow")


AIRFLOW = airflow(settings.REPO)
#: Between Airflow and its database, where `pgbouncer.enabled`.
PGBOUNCER = Image("pgbouncer", settings.REPO / "images" / "pgbouncer")


def tasks() -> list[Image]:
    """The task images: every folder of ``images/`` that has a VERSION file."""
    return [Image(path.parent.name, path.parent) for path in sorted((settings.REPO / "images").glob("*/VERSION"))]


def stand_ins(programs: Path) -> list[Image]:
    """The images of what production has and a laptop has not. ``programs``: the folder of the Go programs."""
    folder = settings.REPO / "local"
    return [
        Image("local/postgres", folder / "postgres"),
        Image("local/redis", folder / "redis"),
        Image("local/s3", folder / "s3", programs={"versitygw": programs / "versitygw"}),
        Image("local/git-server", folder / "git-server"),
        Image("local/git-sync", folder / "git-sync"),
        Image("local/seed", folder / "seed"),
    ]


def test_stage(image: Image) -> Image:
    """The stage of ``image`` that adds its tests to what will run."""
    return replace(image, target="test")


def base() -> str:
    """The name of the Debian image in the engine: pulled, or made by debootstrap where no registry can be reached.

    :raises Problem: neither worked.
    """
    with _making_base:
        return _base()


@cache
def _base() -> str:
    ours = f"airflow-platform/debian:{SUITE}"
    for name in (ours, DEBIAN):
        if exists(name):
            return name
    with step(f"Base image {DEBIAN}") as current:
        if reachable(DOCKER_HUB) and pull(DEBIAN):
            current.note("pulled")
            return DEBIAN
        current.note("no registry can be reached: made by debootstrap")
        run(
            ["bash", settings.REPO / "local" / "node" / "debian.sh", SUITE, ours],
            log="debian",
            doing="making the Debian base image",
        )
    return ours


@cache
def reachable(registry: str) -> bool:
    """Whether an image registry answers: tried, once a run.

    :param registry: its host, such as ``registry.k8s.io``.
    """
    try:
        return requests.get(f"https://{registry}/v2/", timeout=5).status_code in (200, 401)
    except requests.RequestException:
        return False


def pull(name: str) -> bool:
    """Pull an image into the engine unless it is there; whether it is there then."""
    return (
        exists(name) or subprocess.run(["docker", "pull", "-q", name], capture_output=True, check=False).returncode == 0
    )


def exists(name: str) -> bool:
    """Whether the engine has this image."""
    return subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0


def build(image: Image) -> str:
    """Build ``image`` unless the engine has it; its name in the engine.

    :raises Problem: Docker's own words.
    """
    name = image.built()
    if exists(name):
        return name
    with step(
        f"Image {image.name}{'' if image.target == 'runtime' else ' (' + image.target + ')'}: building"
    ) as current:

        def note(line: str) -> None:
            if match := re.match(r"Step (\d+/\d+) : (\S+)|#\d+ \[(.+)\]", line):
                current.note(match[3] or f"step {match[1]} {match[2]}")

        words = ["docker", "build", "--network", "host", "--target", image.target, "--tag", name]
        for key, value in {"BASE": base(), **image.build_args}.items():
            words += ["--build-arg", f"{key}={value}"]
        log = f"image-{image.name.replace('/', '-')}-{image.target}"
        # The classic builder where BuildKit's client is missing; the Dockerfiles suit both. The default builder puts
        # what it builds into the engine, which another may not.
        env = {"BUILDX_BUILDER": "default"} if _has_buildx() else {"DOCKER_BUILDKIT": "0"}
        with _context(image) as context:
            run([*words, "-"], log=log, env=env, stdin=context, on_line=note, doing=f"building {image.folder.name}")
        size = subprocess.check_output(["docker", "image", "inspect", "-f", "{{.Size}}", name], text=True)
        current.progress = f"{int(size) / 1e6:.0f} MB"
    return name


@cache
def _has_buildx() -> bool:
    return subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode == 0


def _context_files(folder: Path, target: str) -> list[Path]:
    if not (folder / "Dockerfile").exists():
        raise Problem(f"{folder} has no Dockerfile", "An image is a folder with one.")
    skip = {"__pycache__", ".pytest_cache", ".ruff_cache"}
    if target != "test":
        # What only tests and people read must not make another image of it.
        skip |= {"tests", "README.md", "requirements-test.txt", "requirements-test.in"}
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not skip & set(path.relative_to(folder).parts) and path.suffix != ".pyc"
    ]


def _context(image: Image) -> BinaryIO:
    """The build context as a tar: the folder, the programs, and the host's CA bundle.

    A network that presents a certificate authority of its own to package registries is as common in companies as
    it is unknown to a fresh Debian image; builder stages may use the bundle, final stages do not contain it.
    """
    buffer = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    # GNU's format: Docker knows a context by its first 512 bytes, which in Python's default are not a file's header.
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in _context_files(image.folder, image.target):
            tar.add(path, path.relative_to(image.folder).as_posix(), filter=_as_anyone_clones_it)
        for name, path in image.programs.items():
            tar.add(path, f"bin/{name}", filter=_as_anyone_clones_it)
        bundle = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
        if bundle.exists():
            tar.add(bundle.resolve(), "ca-certificates.crt", filter=_as_anyone_clones_it)
    buffer.seek(0)
    return buffer


def _as_anyone_clones_it(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Modes as git knows them: under a strict umask the image's user could not read what was copied in."""
    member.mode = 0o755 if member.mode & stat.S_IXUSR else 0o644
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
