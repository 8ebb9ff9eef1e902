"""Text that others wrote, for a terminal."""

from __future__ import annotations

import re

#: Sequences that steer a terminal (ECMA-48), and other characters that are no text.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def plain(line: str) -> str:
    """A line that a program may have printed, without what steers a terminal."""
    return _CONTROL.sub("", line)
