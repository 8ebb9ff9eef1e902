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
from airflow_platform.dag_guard import judgement, known
from airflow_platform.dag_guard.parse import Parsed
from airflow_platform.dag_guard.repository import Repository, RepositoryError
from airflow_platform.schema import NotReady

log = logging.getLogger("airflow_platform.dag_guard")

#: Seconds between two looks at git-sync's link, and between two words of what is refused.
_EVERY, _TELL = 1.0, 30.0
#: Seconds until a commit that was refused is judged again: what kept it from being parsed may have passed.
_AGAIN = 600.0


class Unparsed(Exception):
    """A commit of which nothing can be said; the message is why."""


class Guard:
    """What was accepted last, and the judgement on what comes. ``refuses``: it is not what git-sync shows.

    ``accepted`` is None where nothing is good yet.

    :param judging: a folder, made where it is not there yet, of the commits that are being parsed; at a start, of those
        that ended the guard as they were.
    :param sub_path: folder of the DAGs in the repository.
    :param max_drop: percent of the DAGs that may go at once.
    :param timeout: seconds that one commit may take to be parsed.
    :param accept: a commit that is accepted whatever it holds, or the beginning of its hash.
    :param history: without what was accepted before a start, it is looked for among so many commits.
    """

    def __init__(
        self,
        repository: Repository,
        judging: Path,
        sub_path: str,
        *,
        max_drop: int,
        timeout: float,
        accept: str,
        history: int,
    ) -> None:
        self._repository, self._judging, self._sub_path = repository, judging, sub_path
        self._max_drop, self._timeout, self._accept, self._history = max_drop, timeout, accept, history
        judging.mkdir(exist_ok=True)
        self._fatal = {path.name for path in judging.iterdir()}
        self._shown: str | None = None
        self._settled = False
        self._judged = 0.0
        self._begun = False
        # What a commit is judged by: what was accepted last, or what Airflow has.
        self._last = Parsed([], {})
        # Until another is shown, so that a commit is parsed once, however often the look at it fails.
        self._parsed: dict[str, Parsed | Unparsed] = {}
        self.accepted: str | None = None
        self._handed_on: str | None = None
        self.refuses = False

    def look(self) -> None:
        """Judge the commit that git-sync shows, where it is new, or was refused a while ago; hand on what is good."""
        shown = self._repository.incoming()
        if shown is None:
            return
        again = self._settled and self.refuses and time.monotonic() >= self._judged + _AGAIN
        if shown != self._shown or again:
            self._shown, self._settled, self._parsed = shown, False, {}
        if not self._settled:
            commit = self._repository.fetch()
            if self._begun:
                self._consider(commit)
            else:
                self._begin(commit)
                self._begun = True
            self._settled, self.refuses = True, self.accepted != commit
            self._judged = time.monotonic()
        if self.accepted is not None and self.accepted != self._handed_on:
            self._repository.accept(self.accepted)
            self._handed_on = self.accepted

    def _begin(self, commit: str) -> None:
        """Judge the first commit that is shown, beside what was accepted before.

        In a new pod that is not known, and commits before this one are judged as well. What Airflow has stands for what
        was accepted; where it has nothing, the oldest of these commits.

        Raises:
            NotReady: Airflow's database does not answer, which DAG files ask as well: what is in them cannot be said.
        """
        has = self._airflow_has()
        self.accepted = self._repository.accepted()
        if self.accepted is not None:
            log.info("Commit %s was accepted before", self.accepted)
            try:
                self._last = self._parse(self.accepted)
            except Unparsed:
                self._last = has or Parsed([], {})
            if commit != self.accepted:
                self._consider(commit)
            return
        history = self._repository.history(commit, self._history)
        if has is None:
            log.info("The oldest commit stands for what Airflow has, which knows no DAG of this repository yet")
            self.accepted, *history = history
            try:
                self._last = self._parse(self.accepted)
            except Unparsed:
                self._last = Parsed([], {})
        else:
            self._last = has
        # Mostly the last of them is good, and one look is enough.
        good = self._newest(history)
        if good < 0 and has is not None:
            good = self._newest(history, excuse=True)
        # Of the others it is said why not. Beside one that a person has named, they may be good yet.
        for one in history[good + 1 :]:
            self._consider(one)
        if self.accepted is None:
            log.error("None of the last %s commits is good beside what Airflow has: nothing is handed on", len(history))

    @staticmethod
    def _airflow_has() -> Parsed | None:
        has = known.read()
        if has is not None:
            log.info("Airflow has %s DAGs, and %s files that cannot be imported", len(has.dags), len(has.errors))
        return has

    def _newest(self, history: list[str], *, excuse: bool = False) -> int:
        """Accept the newest that is good; its index, or -1."""
        numbers = reversed(range(len(history)))
        return next((one for one in numbers if self._consider(history[one], say=False, excuse=excuse)), -1)

    def _consider(self, commit: str, *, say: bool = True, excuse: bool = False) -> bool:
        """Accept a commit, where it is good; whether it is.

        Args:
            say: why it is not.
            excuse: a file that Airflow has to the letter is not what a commit has broken.
        """
        try:
            parsed = self._parse(commit)
            why = judgement.refusal(parsed, self._last, self._max_drop)
            excused = excuse and not judgement.refusal(parsed, judgement.excused(parsed, self._last), self._max_drop)
        except Unparsed as error:
            parsed, why, excused = self._last, str(error), False
        if why and self._accept and commit.startswith(self._accept):
            log.warning("Commit %s is accepted, as dags.gitSync.guard.accept names it, though %s", commit, why)
        elif why and excused:
            log.warning("Commit %s is accepted, as Airflow has the same file, which it has not broken: %s", commit, why)
        elif why:
            if say:
                stay = f"those of {self.accepted}" if self.accepted else "as Airflow has them"
                log.error("Commit %s is refused, and DAGs stay %s: %s", commit, stay, why)
            return False
        log.info("Commit %s is accepted, with %s DAGs", commit, len(parsed.dags))
        self._last, self.accepted = parsed, commit
        return True

    def _parse(self, commit: str) -> Parsed:
        """What is in a commit.

        Raises:
            Unparsed: it cannot be said.
        """
        if commit in self._fatal:
            more = "it may need more memory than dagProcessor.resources allows"
            raise Unparsed(f"the guard was ended while it was parsed: {more}")
        if commit not in self._parsed:
            # Left behind where the guard is ended with its parser: it would be so after each start.
            note = self._judging / commit
            note.touch()
            try:
                self._parsed[commit] = self._run_parser(commit)
            except Unparsed as error:
                self._parsed[commit] = error
            finally:
                note.unlink()
        found = self._parsed[commit]
        if isinstance(found, Unparsed):
            raise found
        return found

    def _run_parser(self, commit: str) -> Parsed:
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
            try:
                return Parsed(**json.loads(answer))
            except (ValueError, TypeError) as error:
                raise Unparsed(f"its parser's answer cannot be read: {error}") from None


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 1 where the git server ended."""
    parser = argparse.ArgumentParser(prog="python -m airflow_platform.dag_guard", description=__doc__)
    parser.add_argument("incoming", type=Path, help="git-sync's link")
    parser.add_argument("folder", type=Path, help="a folder for what is accepted, empty at first")
    parser.add_argument("--sub-path", default="", help="folder of the DAGs in the repository")
    parser.add_argument(
        "--max-drop", type=int, default=50, help="percent of DAGs that may go at once (default: %(default)s)"
    )
    parser.add_argument("--timeout", type=float, default=300, help="seconds for one commit (default: %(default)s)")
    parser.add_argument("--accept", default="", metavar="COMMIT", help="accept this one whatever it holds")
    parser.add_argument(
        "--history", type=int, default=5, help="commits to look at where none was accepted yet (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=9418, help="of the git server (default: %(default)s)")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    repository = Repository(options.folder, options.incoming, options.timeout)
    guard = Guard(
        repository,
        options.folder / "judging",
        options.sub_path,
        max_drop=options.max_drop,
        timeout=options.timeout,
        accept=options.accept,
        history=options.history,
    )
    metrics.initialize()
    told, fails = float("-inf"), False
    server = repository.serve(options.port)
    try:
        while not stop.wait(_EVERY):
            if server.poll() is not None:
                log.error("The git server ended with %s", server.returncode)
                return 1
            try:
                guard.look()
                fails = False
            except (RepositoryError, OSError, NotReady) as error:
                fails = True
                log.error("%s; trying again", error)
            if time.monotonic() >= told + _TELL:
                told = time.monotonic()
                stats.gauge(metrics.GUARD_REFUSES, int(guard.refuses or fails), tags={"pod": metrics.pod()})
        return 0
    finally:
        server.terminate()
        server.wait(10)


if __name__ == "__main__":
    sys.exit(main())
