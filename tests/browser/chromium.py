"""Debian's Chromium: the browser of these tests, which no registry but Debian's has."""

from __future__ import annotations

import os
import shutil

from local.cluster import engine
from local.cluster.console import Problem, step


def path() -> str:
    """The program; installed, where it is missing and this is root on Debian.

    :raises Problem: it is missing, and cannot be installed.
    """
    if (found := shutil.which("chromium")) is None:
        if os.geteuid() or shutil.which("apt-get") is None:
            raise Problem("Chromium is missing", "Install it, or run this as root on Debian.")
        with step("Chromium: missing, installing Debian's package"):
            engine.apt_install("chromium")
        found = shutil.which("chromium")
    return str(found)
