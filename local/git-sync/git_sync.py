"""Keeps a folder equal to a git ref, with the environment contract of registry.k8s.io/git-sync/git-sync v4.

For places where that image cannot be pulled. Every commit is checked out into a worktree of its own,
``$GITSYNC_ROOT/.worktrees/<hash>``; the symlink ``$GITSYNC_LINK`` is moved to it by a rename once it is complete, so a
reader sees the old files or the new ones, never a mixture. While the server cannot be reached, the link stays.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

PREFIX = "GITSYNC_"


class ConfigError(ValueError):
    """A variable of the environment is missing or malformed."""


class SyncError(RuntimeError):
    """One attempt to synchronise failed."""


def log(level: str, message: str) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(f"{now} {level} {message}", file=sys.stderr, flush=True)


# --- configuration ---------------------------------------------------------------------------------------------


def duration(text: str) -> float:
    """Seconds of a Go duration ("10s", "1m30s", "500ms", "0"; https://pkg.go.dev/time#ParseDuration)."""
    if text == "0":
        return 0.0
    units = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    parts = re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError('a duration such as "10s" or "1m30s"')
    return sum(float(number) * units[unit] for number, unit in parts)


def boolean(text: str) -> bool:
    """A Go boolean (https://pkg.go.dev/strconv#ParseBool)."""
    if text in {"1", "t", "T", "TRUE", "true", "True"}:
        return True
    if text in {"0", "f", "F", "FALSE", "false", "False"}:
        return False
    raise ValueError('"true" or "false"')


def integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number") from None


def submodules(text: str) -> str:
    if text not in {"recursive", "shallow", "off"}:
        raise ValueError('"recursive", "shallow" or "off"')
    return text


def address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError('an address such as ":1234"')
    return host.strip("[]"), int(port)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the environment says; names, defaults and meaning are git-sync's. Times are in seconds."""

    repo: str
    ref: str = "HEAD"
    root: Path
    link: Path
    period: float = 10.0
    sync_timeout: float = 120.0
    stale_worktree_timeout: float = 0.0
    one_time: bool = False
    max_failures: int = 0
    depth: int = 1
    submodules: str = "recursive"
    touch_file: Path | None = None
    http_bind: tuple[str, int] | None = None
    http_metrics: bool = False
    username: str = ""
    password: str = ""
    password_file: Path | None = None
    ssh_key_file: Path = Path("/etc/git-secret/ssh")
    ssh_known_hosts: bool = True
    ssh_known_hosts_file: Path = Path("/etc/git-secret/known_hosts")

    def current_password(self) -> str:
        """The password as it is now: a mounted Secret changes when it is rotated.

        Raises:
            SyncError: the file cannot be read.
        """
        if self.password_file is None:
            return self.password
        try:
            return self.password_file.read_text().rstrip("\r\n")
        except OSError as error:
            raise SyncError(f"{PREFIX}PASSWORD_FILE: {self.password_file}: {error.strerror}") from error


_PARSERS = {
    "REPO": str,
    "REF": str,
    "ROOT": Path,
    "LINK": str,
    "PERIOD": duration,
    "SYNC_TIMEOUT": duration,
    "STALE_WORKTREE_TIMEOUT": duration,
    "ONE_TIME": boolean,
    "MAX_FAILURES": integer,
    "DEPTH": integer,
    "SUBMODULES": submodules,
    "TOUCH_FILE": str,
    "HTTP_BIND": address,
    "HTTP_METRICS": boolean,
    "USERNAME": str,
    "PASSWORD": str,
    "PASSWORD_FILE": Path,
    "SSH_KEY_FILE": Path,
    "SSH_KNOWN_HOSTS": boolean,
    "SSH_KNOWN_HOSTS_FILE": Path,
}


def read_config(environment: Mapping[str, str]) -> Config:
    """The configuration in the environment; variables that are not understood are warned about by name.

    Raises:
        ConfigError: says which variable, and what was expected.
    """
    values = {}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX) or not text:
            continue
        name = variable.removeprefix(PREFIX)
        if name not in _PARSERS:
            log("WARNING", f"{variable} is not supported here and has no effect")
            continue
        try:
            values[name.lower()] = _PARSERS[name](text)
        except ValueError as error:
            raise ConfigError(f"{variable}: expected {error}, found {text!r}") from None
    for name in ("repo", "root"):
        if name not in values:
            raise ConfigError(f"{PREFIX}{name.upper()} must be set")
    if urlsplit(values["repo"]).password:
        raise ConfigError(f"{PREFIX}REPO holds a password; give it as {PREFIX}PASSWORD_FILE or {PREFIX}PASSWORD")
    if "username" in values and not {"password", "password_file"} & values.keys():
        raise ConfigError(f"{PREFIX}USERNAME is set: set {PREFIX}PASSWORD_FILE or {PREFIX}PASSWORD too")
    # Relative paths are the root's; the link's default is the last part of the repository's name.
    root = values["root"] = values["root"].absolute()
    values["link"] = root / values.get("link", values["repo"].rstrip("/").rsplit("/", 1)[-1])
    if "touch_file" in values:
        values["touch_file"] = root / values["touch_file"]
    return Config(**values)


# --- git -------------------------------------------------------------------------------------------------------

# git asks this for credentials; they come from its environment, so they are in no argument list and no file.
_CREDENTIAL_HELPER = (
    '!f() { test "$1" = get && printf \'username=%s\\npassword=%s\\n\' "$SYNC_USERNAME" "$SYNC_PASSWORD"; }; f'
)


class Git:
    """Runs git for one synchronisation, which must end before its deadline."""

    def __init__(self, config: Config) -> None:
        self._deadline = time.monotonic() + config.sync_timeout
        self._timeout = config.sync_timeout
        self._root = config.root
        self._password = config.current_password()
        self._environment = {**os.environ, **self._settings(config)}

    def __call__(self, *arguments: str, cwd: Path | None = None) -> str:
        """Standard output of a git command run in the root or another folder.

        Raises:
            SyncError: git failed, or the deadline passed.
        """
        process = subprocess.Popen(
            ["git", *arguments],
            cwd=cwd or self._root,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=max(0.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            # git's helpers (git-remote-https, ssh) are in its session.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise SyncError(
                f"git {arguments[0]}: not finished within {PREFIX}SYNC_TIMEOUT ({self._timeout:g} s)"
            ) from None
        if process.returncode:
            raise SyncError(f"git {arguments[0]}: {self._redact(' '.join(err.split())) or process.returncode}")
        return out

    def _redact(self, text: str) -> str:
        return text.replace(self._password, "***") if self._password else text

    def _settings(self, config: Config) -> dict[str, str]:
        settings = {"gc.autoDetach": "false", "safe.directory": "*", "advice.detachedHead": "false"}
        if config.username:
            # For this server only: a submodule elsewhere must not be told the password.
            url = urlsplit(config.repo)
            settings[f"credential.{url.scheme}://{url.netloc}.helper"] = _CREDENTIAL_HELPER
        ssh = ["ssh", "-o", "BatchMode=yes"]
        if config.ssh_key_file.exists():
            ssh += ["-o", "IdentitiesOnly=yes", "-i", str(config.ssh_key_file)]
        if config.ssh_known_hosts:
            ssh += ["-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={config.ssh_known_hosts_file}"]
        else:
            ssh += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        environment = {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": " ".join(ssh),
            "SYNC_USERNAME": config.username,
            "SYNC_PASSWORD": self._password,
            "GIT_CONFIG_COUNT": str(len(settings)),
        }
        for index, (key, value) in enumerate(settings.items()):
            environment |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
        return environment


# --- synchronisation -------------------------------------------------------------------------------------------


class Synchroniser:
    """Brings root and link to the ref's commit, again and again."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._worktrees = config.root / ".worktrees"

    def sync(self) -> bool:
        """One attempt; True if the link moved.

        Raises:
            SyncError: the server, the ref or the disk was at fault; the link is as it was.
        """
        git = Git(self._config)
        try:
            self._init(git)
            commit, name = self._resolve(git)
            current = self.current()
            changed = commit != current
            if changed:
                self._checkout(git, commit, name)
                self._publish(commit)
                if current:
                    os.utime(self._worktrees / current)  # its time as a stale worktree starts now
                log("INFO", f"{self._config.ref} is now {commit}" + (f", was {current}" if current else ""))
            self._remove_stale(git, commit)
            return changed
        except OSError as error:
            raise SyncError(str(error)) from error

    def current(self) -> str | None:
        """The commit that the link shows; None if there is no link, or one to nothing."""
        link = self._config.link
        if not link.is_symlink() or not link.exists():
            return None
        return Path(os.readlink(link)).name

    def _init(self, git: Git) -> None:
        self._config.root.mkdir(parents=True, exist_ok=True)
        self._worktrees.mkdir(exist_ok=True)
        folder = self._config.root / ".git"
        if folder.exists():
            try:
                git("--git-dir=.git", "rev-parse", "--git-dir")
                for lock in folder.rglob("*.lock"):  # left by a git that was killed; no other runs in this root
                    lock.unlink()
                return
            except SyncError:
                log("WARNING", f"{folder} is damaged and is made anew")
                shutil.rmtree(folder)
        git("init", "--quiet", "--initial-branch=git-sync")

    def _resolve(self, git: Git) -> tuple[str, str]:
        """The commit that the ref names on the server, and what to fetch for it."""
        ref = self._config.ref
        if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", ref):
            return ref, ref
        # The order in which git itself reads a short name (gitrevisions(7)).
        names = [ref] if ref.startswith("refs/") else [ref, f"refs/{ref}", f"refs/tags/{ref}", f"refs/heads/{ref}"]
        patterns = [pattern for name in names for pattern in (name, f"{name}^{{}}")]
        lines = git("ls-remote", "--quiet", self._config.repo, *patterns).splitlines()
        found = {name: commit for commit, name in (line.split("\t") for line in lines)}
        for name in names:
            if name in found:
                return found.get(f"{name}^{{}}", found[name]), name
        raise SyncError(f"{PREFIX}REF: {self._config.repo} has no branch, tag or commit {ref!r}")

    def _checkout(self, git: Git, commit: str, name: str) -> None:
        depth = [f"--depth={self._config.depth}"] if self._config.depth > 0 else []
        if not depth and (self._config.root / ".git" / "shallow").exists():
            depth = ["--unshallow"]
        git("fetch", "--quiet", "--no-tags", "--force", *depth, self._config.repo, name)
        worktree = self._worktrees / commit
        if worktree.exists():  # left by an attempt that did not end
            shutil.rmtree(worktree)
        git("worktree", "prune")
        git("worktree", "add", "--quiet", "--force", "--detach", str(worktree), commit)
        if self._config.submodules != "off" and (worktree / ".gitmodules").exists():
            recursive = ["--recursive"] if self._config.submodules == "recursive" else []
            git("submodule", "update", "--quiet", "--init", *recursive, *depth, cwd=worktree)

    def _publish(self, commit: str) -> None:
        link = self._config.link
        link.parent.mkdir(parents=True, exist_ok=True)
        new = link.with_name(f".{link.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(os.path.relpath(self._worktrees / commit, link.parent))
        new.rename(link)

    def _remove_stale(self, git: Git, commit: str) -> None:
        now = time.time()
        stale = [
            worktree
            for worktree in self._worktrees.iterdir()
            if worktree.name != commit and now - worktree.stat().st_mtime >= self._config.stale_worktree_timeout
        ]
        if not stale:
            return
        for worktree in stale:
            shutil.rmtree(worktree)
        git("worktree", "prune")
        git("gc", "--quiet", "--auto")


# --- the process -----------------------------------------------------------------------------------------------


def serve(bind: tuple[str, int], ready: threading.Event, counted: Counter[str] | None = None) -> ThreadingHTTPServer:
    """Answer GET / with 200 once the first synchronisation succeeded, with 503 before.

    And GET /metrics, where synchronisations are ``counted`` by how they ended.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            if counted is not None and self.path == "/metrics":
                lines = ["# TYPE git_sync_count_total counter"]
                lines += [f'git_sync_count_total{{status="{status}"}} {n}' for status, n in sorted(counted.items())]
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(("\n".join(lines) + "\n").encode())
                return
            self.send_response(200 if ready.is_set() else 503)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Probes are not worth a line."""

    server = ThreadingHTTPServer(bind, Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def run(config: Config) -> int:
    """Synchronise until told to stop; the exit code where it ends by itself."""
    synchroniser = Synchroniser(config)
    ready = threading.Event()
    counted: Counter[str] = Counter()
    if config.http_bind:
        serve(config.http_bind, ready, counted if config.http_metrics else None)
    failures = 0
    while True:
        try:
            changed = synchroniser.sync()
        except SyncError as error:
            failures += 1
            counted["error"] += 1
            if 0 <= config.max_failures <= failures:
                log("ERROR", f"{error}; failed {failures} times, giving up ({PREFIX}MAX_FAILURES)")
                return 1
            log("ERROR", f"{error}; failed {failures} times, trying again in {config.period:g} s")
        else:
            failures = 0
            counted["success" if changed else "noop"] += 1
            if config.touch_file and (changed or not ready.is_set()):
                config.touch_file.touch()
            ready.set()
            if config.one_time:
                return 0
        time.sleep(config.period)


def stop(*_: object) -> NoReturn:
    """As the first process of a container this one dies of no signal that it does not handle."""
    sys.exit(0)


def main() -> int:
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        config = read_config(os.environ)
    except ConfigError as error:
        log("ERROR", str(error))
        return 2
    return run(config)


if __name__ == "__main__":
    sys.exit(main())
