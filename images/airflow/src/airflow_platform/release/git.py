"""git, as whoever runs this has it: its configuration, credentials and author."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from airflow_platform.command_error import CommandError

#: Seconds for one command; a clone may be large.
_TIMEOUT = 300


def git(*words: str, at: Path) -> bytes:
    """What ``git`` prints, run in the folder ``at``.

    Raises:
        CommandError: git's own words.
    """
    # A question for a password would wait for ever.
    environment = {"GIT_TERMINAL_PROMPT": "0", **os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(["git", *words], cwd=at, capture_output=True, env=environment, timeout=_TIMEOUT)
    except FileNotFoundError as error:
        raise CommandError("git is not there: install it") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"git {words[0]} did not end within {_TIMEOUT} seconds: does the server answer?") from error
    if done.returncode:
        said = without_credentials(done.stderr.decode(errors="replace").strip()) or f"exit code {done.returncode}"
        raise GitError(f"git {words[0]}: {said}")
    return done.stdout


class GitError(CommandError):
    """git's own words."""


def without_credentials(text: str) -> str:
    """``text`` without the users and passwords of addresses in it."""
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1", text)
