"""The catalogue of task images: ``images.yaml`` at the root of the DAGs, with the one version of each image."""

from __future__ import annotations

from pathlib import Path

import yaml

FILE = "images.yaml"


def root_of(path: Path) -> Path:
    """The root of the DAGs that a folder or a file belongs to.

    That is the nearest folder above that has a catalogue; else the folder itself, or that of the file.
    """
    path = path.resolve()
    above = next((one for one in (path, *path.parents) if (one / FILE).is_file()), None)
    return above or (path if path.is_dir() else path.parent)


def versions(root: Path) -> dict[str, str] | None:
    """The version of each image, by its name; None where there is no catalogue."""
    path = root / FILE
    if not path.is_file():
        return None
    return {name: str(version) for name, version in (yaml.safe_load(path.read_text()) or {}).items()}
