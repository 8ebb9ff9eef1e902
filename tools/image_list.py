"""The images of a release: ``python -m tools.image_list [--mirror REGISTRY] [helm's words…]``, by ``make image-list``.

One a line, as the chart renders them with these values; with ``--mirror`` the commands that bring each to a registry of
one's own, for a cluster without the internet. Task images are what DAGs name, and are no part of it.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import yaml
from local.cluster import console, settings, toolchain
from local.cluster.console import Problem

CHART = settings.REPO / "charts" / "airflow-platform"
#: What a render needs, and says nothing of images.
_NEEDED = {
    "database": {"existingSecret": "database"},
    "dags": {"gitSync": {"repo": "https://git.example.com/dags.git"}},
    "tasks": {"namespaces": ["tasks"]},
}


def images(rendered: str) -> list[str]:
    """All images of rendered manifests, those of the workers' pod template among them; sorted, each once."""
    return sorted({image for document in yaml.safe_load_all(rendered) for image in _images(document)})


def _images(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for one in node:
            yield from _images(one)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "image" and isinstance(value, str):
                yield value
            elif key == "worker-pod.yaml":
                yield from _images(yaml.safe_load(value))
            else:
                yield from _images(value)


def mirrored(image: str, registry: str) -> str:
    """The image's name in another registry: its path stays, its registry host goes."""
    first, _, rest = image.partition("/")
    path = rest if rest and ("." in first or ":" in first or first == "localhost") else image
    # A digest is the same everywhere, but is no name to push to.
    name, at, digest = path.partition("@")
    return f"{registry.rstrip('/')}/{name}{':' + digest.removeprefix('sha256:')[:12] if at else ''}"


def commands(image: str, registry: str) -> list[str]:
    """Shell commands that bring the image there."""
    source, target = shlex.quote(image), shlex.quote(mirrored(image, registry))
    return [f"docker pull {source}", f"docker tag {source} {target}", f"docker push {target}"]


def render(words: list[str]) -> str:
    """What ``helm template`` makes of the chart with these words.

    :raises Problem: helm's own words.
    """
    helm = [toolchain.programs("go") / "helm", "template", "airflow", CHART]
    # First, so that the values of the release win.
    command = [*helm, "--values", "-", *words]
    done = subprocess.run(command, input=yaml.safe_dump(_NEEDED), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Problem(done.stderr.strip(), "Give the values of the release, as to helm: --values my-values.yaml.")
    return done.stdout


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.image_list", description=__doc__)
    parser.add_argument("--mirror", metavar="REGISTRY", help="print commands that bring them to this registry")
    options, words = parser.parse_known_args(arguments)

    def run() -> None:
        for image in images(render(words)):
            for line in commands(image, options.mirror) if options.mirror else [image]:
                print(line)

    return console.main(run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
