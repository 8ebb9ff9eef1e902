"""The repository that holds the accepted commits, and the git server that hands them on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

#: The branch that shows the accepted commit.
BRANCH = "accepted"
_NAME = "dags.git"


class RepositoryError(RuntimeError):
    """git failed, and the message is its own; or it took too long."""


class Repository:
    """``<folder>/dags.git``, made where it is not there yet, which takes commits from git-sync's link ``incoming``.

    ``timeout``: seconds for one command, all of which work on this machine's disk.
    """

    def __init__(self, folder: Path, incoming: Path, timeout: float = 120) -> None:
        self._folder, self._path, self._incoming, self._timeout = folder, folder / _NAME, incoming, timeout
        # git-sync's files are another user's, and git's own helpers read the settings of the user alone.
        home = folder / "home"
        home.mkdir(exist_ok=True)
        (home / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")
        self._environment = {**os.environ, "HOME": str(home)}
        if not self._path.exists():
            new = self._path.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            self._run(["git", "init", "--quiet", "--bare", f"--initial-branch={BRANCH}", str(new)])
            new.rename(self._path)
        # A git that was killed leaves its locks behind, and no git runs yet.
        for lock in self._path.rglob("*.lock"):
            lock.unlink()

    def incoming(self) -> str | None:
        """The commit that git-sync shows now; None: it shows none yet."""
        return Path(os.readlink(self._incoming)).name if self._incoming.is_symlink() else None

    def fetch(self) -> str:
        """Take the commit that git-sync shows, with what git-sync has of its history; its hash."""
        worktree = self._incoming.resolve()
        self._git("fetch", "--quiet", "--force", "--update-shallow", str(worktree), "HEAD:refs/heads/incoming")
        return self._git("rev-parse", "refs/heads/incoming").strip()

    def history(self, commit: str, count: int) -> list[str]:
        """The commit and those before it on its branch, at most ``count``, the oldest first."""
        found = self._git("rev-list", "--first-parent", f"--max-count={count}", commit)
        return found.split()[::-1]

    def export(self, commit: str, to: Path) -> None:
        """Write the files of a commit to a folder that is not there yet."""
        to.mkdir()
        self._git("read-tree", commit)
        self._git(f"--work-tree={to}", "checkout-index", "--all", cwd=to)

    def accepted(self) -> str | None:
        """The commit that is handed on now; None: none yet."""
        return self._git("for-each-ref", "--format=%(objectname)", f"refs/heads/{BRANCH}").strip() or None

    def accept(self, commit: str) -> None:
        """Hand this commit on from now."""
        self._git("update-ref", f"refs/heads/{BRANCH}", commit)
        # A shallow repository has no use for what it has left behind.
        self._git("gc", "--quiet", "--auto")

    def serve(self, port: int) -> subprocess.Popen[bytes]:
        """Start the git server, which reads and never writes."""
        words = ["git", "daemon", "--reuseaddr", f"--base-path={self._folder}", "--export-all", f"--port={port}"]
        # Of each probe, which asks for nothing, it would say so, and a refusal would not be found among that.
        words += ["--log-destination=none", "--init-timeout=10", "--timeout=60"]
        # Of all pods at once: by default, it lets those wait that come after the 32nd.
        words += ["--max-connections=0", str(self._path)]
        return subprocess.Popen(words, env=self._environment)

    def _git(self, *words: str, cwd: Path | None = None) -> str:
        return self._run(["git", f"--git-dir={self._path}", *words], cwd)

    def _run(self, words: list[str], cwd: Path | None = None) -> str:
        pipe = subprocess.PIPE
        with subprocess.Popen(words, cwd=cwd, env=self._environment, stdout=pipe, stderr=pipe, text=True) as process:
            try:
                said, error = process.communicate(timeout=self._timeout)
            except subprocess.TimeoutExpired:
                # Killed, it would leave its locks behind, and the next one would fail on them.
                process.terminate()
                raise RepositoryError(f"{' '.join(words)}: not done within {self._timeout:g} s") from None
        if process.returncode:
            raise RepositoryError(f"{' '.join(words)}: {error.strip()}")
        return said
