"""An event loop whose rounds are short, however many connections have something to say.

asyncio handles in one round of its loop whatever is ready. Where the pods of a thousand tasks end at once, a thousand
logs end, or a thousand connections are made: all else, timers too, would wait for seconds.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

#: Connections that are heard in one round. Making one by TLS takes milliseconds.
AT_ONCE = 16


class _Epoll:
    """Linux' epoll, which gives those that are left the next time, and before any that it has given."""

    def __init__(self, epoll: Any) -> None:
        self._epoll = epoll

    def poll(self, timeout: float, maxevents: int) -> list[tuple[int, int]]:
        return self._epoll.poll(timeout, min(maxevents, AT_ONCE))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._epoll, name)


class _Selector(selectors.EpollSelector):
    def __init__(self) -> None:
        super().__init__()
        self._selector = _Epoll(self._selector)


class _Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(_Selector())


def use() -> None:
    """Have the loops that this process and its forks make from now on be such ones; a second call changes nothing."""
    asyncio.set_event_loop_policy(_Policy())
