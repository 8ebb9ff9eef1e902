"""What a person sees: a line a step with its time, progress on long ones, and errors that say what to do."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from local.cluster import settings
from local.cluster.problem import Problem

#: A step that runs longer than this many seconds says how far it is, again and again at this interval.
PROGRESS_EVERY = 15.0

_printing = threading.Lock()


def say(line: str) -> None:
    """Print one line, whole, from any thread."""
    with _printing:
        print(line, flush=True)


def duration(seconds: float) -> str:
    """``72.4`` -> ``1 min 12 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Step:
    """One step under way; ``note`` says how far it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.began = time.monotonic()
        self.progress = ""
        self._told = self.began

    def note(self, progress: str) -> None:
        """Remember how far the step is, and print it when the last such line is old."""
        self.progress = progress
        now = time.monotonic()
        if now - self._told >= PROGRESS_EVERY:
            self._told = now
            say(f"  …   {self.name}: {progress} ({duration(now - self.began)})")


@contextlib.contextmanager
def step(name: str) -> Iterator[Step]:
    """Print a line when the step ends: its name, its time and the last note."""
    current = Step(name)
    try:
        yield current
    except BaseException:
        say(f"  no  {name} ({duration(time.monotonic() - current.began)})")
        raise
    note = f": {current.progress}" if current.progress else ""
    say(f"  ok  {name}{note} ({duration(time.monotonic() - current.began)})")


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    log: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: BinaryIO | None = None,
    on_line: Callable[[str], None] | None = None,
    doing: str = "",
) -> str:
    """Run ``command`` with its output in ``.local/log/<log>.log``; its standard output and error, as text.

    :raises Problem: it could not be started, or exited non-zero; the last lines are in the message.
    """
    path = settings.STATE / "log" / f"{log}.log"
    settings.STATE.mkdir(mode=0o700, exist_ok=True)
    path.parent.mkdir(exist_ok=True)
    words = [os.fspath(word) for word in command]
    lines: list[str] = []
    with path.open("a", encoding="utf-8") as file:
        try:
            process = subprocess.Popen(
                words,
                cwd=cwd or settings.REPO,
                env={**os.environ, **(env or {})},
                stdin=stdin or subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except FileNotFoundError:
            raise Problem(f"{words[0]} is not installed", "Run `make up`, which installs what it needs.") from None
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip()
            lines.append(line)
            file.write(line + "\n")
            if on_line:
                on_line(line)
        code = process.wait()
    if code:
        tail = "\n".join(f"         {line}" for line in lines[-15:])
        raise Problem(
            f"{doing or ' '.join(words[:3])} failed (exit {code}):\n{tail}", f"The whole output is in {path}."
        )
    return "\n".join(lines)


def wait_for(what: str, check: Callable[[], object], *, seconds: float, every: float = 1.0) -> object:
    """Call ``check`` until it answers something true; that answer.

    :raises Problem: it did not within ``seconds``; the last exception of ``check`` is named.
    """
    deadline = time.monotonic() + seconds
    last: object = None
    while True:
        try:
            if answer := check():
                return answer
        except (OSError, Problem, subprocess.SubprocessError) as error:
            last = error
        if time.monotonic() >= deadline:
            because = f" ({last})" if last else ""
            raise Problem(f"{what}: not within {duration(seconds)}{because}", "See `.local/log` and `make status`.")
        time.sleep(every)


def main(command: Callable[[], None]) -> int:
    """Run ``command``; a :class:`Problem` becomes one error, never a traceback. The exit code."""
    try:
        command()
    except (Problem, subprocess.CalledProcessError) as error:
        problem = error if isinstance(error, Problem) else _failed(error)
        sys.stdout.flush()
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except OSError as error:
        # Among others every failure to reach a server: requests' errors are OSErrors.
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: run the same command again to go on", file=sys.stderr)
        return 130
    return 0


def _failed(error: subprocess.CalledProcessError) -> Problem:
    said = error.stderr or b""
    words = " ".join(os.fspath(word) for word in error.cmd[:3])
    what = said if isinstance(said, str) else said.decode("utf-8", "replace")
    return Problem(
        f"{words} failed (exit {error.returncode}) {what.strip()}".rstrip(),
        "Does the Docker engine still answer (`docker info`)? Then run the same command again.",
    )
