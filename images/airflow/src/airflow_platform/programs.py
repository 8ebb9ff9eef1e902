"""helm and kubectl, which commands call as whoever runs them does."""

from __future__ import annotations

import subprocess

from airflow_platform.command_error import CommandError

#: Seconds for one command, where nothing else is said.
_TIMEOUT = 120


def called(program: str, *words: str, stdin: str = "", timeout: float = _TIMEOUT) -> str:
    """What a program prints.

    Raises:
        CommandError: it is not there, took longer than ``timeout`` seconds, or failed; with its own words.
    """
    try:
        done = subprocess.run(
            [program, *words], input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
    except FileNotFoundError:
        raise CommandError(f"{program} is not on the PATH: install it") from None
    except subprocess.TimeoutExpired:
        raise CommandError(f"{program} {words[0]} took longer than {timeout:g} s: is the cluster in reach?") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise CommandError(f"{program} {words[0]} failed: {' '.join(said[-5:])}")
    return done.stdout
