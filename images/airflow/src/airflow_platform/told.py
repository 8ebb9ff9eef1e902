"""What the log of a task that waits has said, and when that is worth another line."""

from __future__ import annotations

import time
from collections.abc import Hashable

#: Seconds until the same is said in other words, as what is free changes: half of the time for which the task has
#: waited, within these bounds.
_SOONEST, _LATEST = 15, 300


class Told:
    """The last line.

    Args:
        what: what it was about, where one was said before this.
        at: when, in seconds since the epoch.
    """

    def __init__(self, what: Hashable = None, at: float | None = None) -> None:
        self._what = what
        self._sentence = ""
        self.at = at

    def is_news(self, what: Hashable, sentence: str, since: float | None) -> bool:
        """Whether to say it now; it counts as said then.

        Args:
            what: what it is about: another thing is said at once.
            sentence: the line.
            since: when the task began to wait, in seconds since the epoch.
        """
        now = time.time()
        if what == self._what and self.at is not None:
            pause = min(max((now - (since or self.at)) / 2, _SOONEST), _LATEST)
            if sentence == self._sentence or now - self.at < pause:
                return False
        self._what, self._sentence, self.at = what, sentence, now
        return True
