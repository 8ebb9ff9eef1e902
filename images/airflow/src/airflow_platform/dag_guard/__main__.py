"""Follows git-sync, judges each commit, and hands on the good ones until it is told to stop."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from airflow.sdk.observability import stats

from airflow_platform import metrics
from airflow_platform.dag_guard import judgement
from airflow_platform.dag_guard.parse import Parsed
from airflow_platform.dag_guard.repository import Repository, RepositoryError

log = logging.getLogger("airflow_platform.dag_guard")

#: Seconds between two looks at git-sync's link, and between two words of what is refused.
_EVERY, _TELL = 1.0, 30.0
#: After a start, what was accepted before is found among so many commits.
HISTORY = 5


class Unparsed(Exception):
    """A commit of which nothing can be said; the message is why."""


class Guard:
    """What was accepted last, and the judgement on what comes. ``refuses``: it is not what git-sync shows.

    :param sub_path: folder of the DAGs in the repository.
    :param max_drop: percent of the DAGs that may go at once.
    :param timeout: seconds that one commit may take to be parsed.
    :param accept: a commit that is accepted whatever it holds, or the beginning of its hash.
    """

    def __init__(self, repository: Repository, sub_path: str, *, max_drop: int, timeout: float, accept: str) -> None:
        self._repository, self._sub_path = repository, sub_path
        self._max_drop, self._timeout, self._accept = max_drop, timeout, accept
        self._seen: str | None = None
        self._last: Parsed | None = None
        self.accepted: str | None = None
        self.refuses = False

    def look(self) -> None:
        """Judge the commit that git-sync shows, where it is a new one, and hand on what is accepted."""
        shown = self._repository.incoming()
        if shown is None or shown == self._seen:
            return
        commit = self._repository.fetch()
        if self.accepted is None:
            self._begin(commit)
        else:
            self._consider(commit)
        self._repository.accept(self.accepted)
        self._seen, self.refuses = shown, self.accepted != commit

    def _begin(self, commit: str) -> None:
        """Judge the first commit that is shown, by those before it: what was accepted before a start is not known."""
        first, *more = self._repository.history(commit, HISTORY)
        try:
            self._last = self._parse(first)
        except Unparsed:
            self._last = Parsed([], {})
        self.accepted = first
        # Mostly all of them are good, and one look is enough.
        if more and not self._consider(commit, say=len(more) == 1):
            for one in more if len(more) > 1 else []:
                self._consider(one)

    def _consider(self, commit: str, *, say: bool = True) -> bool:
        try:
            parsed = self._parse(commit)
            why = judgement.refusal(parsed, self._last, self._max_drop)
        except Unparsed as error:
            parsed, why = self._last, str(error)
        if why and self._accept and commit.startswith(self._accept):
            log.warning("Commit %s is accepted, as dags.gitSync.guard.accept names it, though %s", commit, why)
        elif why:
            if say:
                log.error("Commit %s is refused, and DAGs stay those of %s: %s", commit, self.accepted, why)
            return False
        log.info("Commit %s is accepted, with %s DAGs", commit, len(parsed.dags))
        self._last, self.accepted = parsed, commit
        return True

    def _parse(self, commit: str) -> Parsed:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, "commit")
            self._repository.export(commit, folder)
            dags = folder / self._sub_path
            if not dags.is_dir():
                raise Unparsed(f"it has no folder {self._sub_path}")
            command = [sys.executable, "-m", "airflow_platform.dag_guard.parse", str(dags)]
            # A session of its own, so that what it forks ends with it.
            with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
                try:
                    answer, _ = process.communicate(timeout=self._timeout)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    raise Unparsed(f"it was not parsed within {self._timeout:g} s") from None
            if process.returncode:
                raise Unparsed(f"its parser ended with {process.returncode}")
            return Parsed(**json.loads(answer))


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 1 where the git server ended."""
    parser = argparse.ArgumentParser(prog="python -m airflow_platform.dag_guard", description=__doc__)
    parser.add_argument("incoming", type=Path, help="git-sync's link")
    parser.add_argument("folder", type=Path, help="an empty folder for what is accepted")
    parser.add_argument("--sub-path", default="", help="folder of the DAGs in the repository")
    parser.add_argument(
        "--max-drop", type=int, default=50, help="percent of DAGs that may go at once (default: %(default)s)"
    )
    parser.add_argument("--timeout", type=float, default=300, help="seconds for one commit (default: %(default)s)")
    parser.add_argument("--accept", default="", metavar="COMMIT", help="accept this one whatever it holds")
    parser.add_argument("--port", type=int, default=9418, help="of the git server (default: %(default)s)")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    repository = Repository(options.folder, options.incoming)
    guard = Guard(
        repository, options.sub_path, max_drop=options.max_drop, timeout=options.timeout, accept=options.accept
    )
    metrics.initialize()
    told = float("-inf")
    server = repository.serve(options.port)
    try:
        while not stop.wait(_EVERY):
            if server.poll() is not None:
                log.error("The git server ended with %s", server.returncode)
                return 1
            try:
                guard.look()
            except (RepositoryError, OSError) as error:
                log.error("%s; trying again", error)
            if time.monotonic() >= told + _TELL:
                told = time.monotonic()
                stats.gauge(metrics.GUARD_REFUSES, int(guard.refuses), tags={"pod": metrics.pod()})
        return 0
    finally:
        server.terminate()
        server.wait(10)


if __name__ == "__main__":
    sys.exit(main())
