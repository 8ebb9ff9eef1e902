"""``make sbom``: what is in each image that is shipped, as CycloneDX, in ``.local/sbom/<image>.cdx.json``.

The packages are asked of the image itself. Those of Python are compared with its lock: none has come by another way.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from local.cluster import console, engine, images, settings, toolchain
from local.cluster.console import Problem, run, step

FOLDER = settings.STATE / "sbom"
DEBIAN = ("dpkg-query", "--show", "--showformat", "${Package}\\t${Version}\\n")
PYTHON = "import importlib.metadata as m\nfor one in m.distributions(): print(one.name, one.version, sep='\\t')"
#: They come with Python, or are the image's own code.
NOT_LOCKED = {"pip", "setuptools", "wheel", "airflow-platform"}

Packages = list[tuple[str, str]]


def main() -> None:
    """Write a document for each image. :raises Problem: an image has a package that its lock does not name."""
    engine.ensure()
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    python = toolchain.python_programs("security") / "python"
    for image in (images.AIRFLOW, images.PGBOUNCER, *images.tasks()):
        built = images.build(image)
        with step(f"SBOM of {image.name}") as current:
            lock = image.folder / "requirements.txt"
            python_packages = _packages(built, "python", "-c", PYTHON) if lock.exists() else []
            found = {"deb": _packages(built, *DEBIAN), "pypi": python_packages}
            if python_packages and (stray := strays(python_packages, lock.read_text())):
                raise Problem(
                    f"{image.name} has {', '.join(stray)}", "Its requirements.txt does not: how did they come?"
                )
            description = json.dumps({"name": image.name, "version": built.rpartition(":")[2], **found})
            words = [python, Path(__file__).with_name("bom.py")]
            made = subprocess.run(words, input=description, capture_output=True, text=True, check=True)
            (FOLDER / f"{image.name}.cdx.json").write_text(made.stdout)
            current.progress = f"{len(found['deb'])} packages of Debian, {len(found['pypi'])} of Python"


def strays(packages: Packages, lock: str) -> list[str]:
    """Packages of Python that the lock does not name in this version."""
    locked = {(_normal(name), version) for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock, re.MULTILINE)}
    return [
        f"{name} {version}"
        for name, version in packages
        if _normal(name) not in NOT_LOCKED and (_normal(name), version) not in locked
    ]


def _packages(image: str, *command: str) -> Packages:
    words = ["docker", "run", "--rm", "--network", "none", "--entrypoint", command[0], image, *command[1:]]
    lines = run(words, log="sbom", doing=f"listing the packages of {image}").splitlines()
    return sorted({tuple(line.split("\t")) for line in lines if "\t" in line})  # type: ignore[misc]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(console.main(main))
