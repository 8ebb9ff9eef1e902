"""What the person at the keyboard can mend."""

from __future__ import annotations


class Problem(Exception):
    """Something that the person at the keyboard can mend: what is wrong, and what to do."""

    def __init__(self, what: str, do: str) -> None:
        super().__init__(f"{what}\n       {do}")
