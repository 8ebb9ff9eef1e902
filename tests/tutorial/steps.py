"""The commands of docs/tutorial.md, in a clone of this repository as it is now."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "tutorial.md"


class Command(NamedTuple):
    """A line that a reader types; whether it needs the cluster."""

    line: str
    on_cluster: bool


def commands() -> list[Command]:
    """All, from top to bottom."""
    blocks = re.findall(r"^```bash( cluster)?\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [Command(line, bool(mark)) for mark, text in blocks for line in text.splitlines()]


def clone(folder: Path) -> Path:
    """A clone, with what is not committed yet."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=REPOSITORY, check=True, capture_output=True).stdout.decode().split("\0")
    for name in names:
        source = REPOSITORY / name
        if name and source.is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
            target.chmod(source.stat().st_mode)
    # pytest's folders are its user's alone; the containers of the tests have another.
    folder.chmod(0o755)
    return folder


def type_in(line: str, folder: Path, seconds: float) -> str:
    """Type a line into a shell, in a clone; what it prints, which is shown as well.

    Raises:
        AssertionError: it ends with an error.
        subprocess.TimeoutExpired: it does not end in time.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MAKEFLAGS")}
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    sys.stdout.write(f"$ {line}\n{done.stdout}")
    assert done.returncode == 0, f"{line} ended with {done.returncode}"
    return done.stdout
