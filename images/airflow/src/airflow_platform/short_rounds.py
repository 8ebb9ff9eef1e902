"""An event loop whose rounds are short, however many tasks have something to do.

asyncio handles in one round of its loop whatever is ready. Where the pods of a thousand tasks end at once, a thousand
logs end, or a thousand connections are made, and each wakes somebody: all else, heartbeats too, would wait for seconds.
Here a round has a few of each, and what is left has the next rounds, in its order, timeouts too. Whoever has slept goes
before those: it has waited for its time already.
"""

from __future__ import annotations

import asyncio
import selectors
from asyncio import futures
from collections import deque
from collections.abc import Callable
from typing import Any

#: Connections that are heard in one round, and steps that are taken: making one by TLS takes milliseconds.
AT_ONCE = 4


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


class _Loop(asyncio.SelectorEventLoop):
    """Rests on how asyncio.base_events goes round: first it takes in connections and due timers, after what is ready
    then, and runs all of it."""

    def __init__(self) -> None:
        super().__init__(_Selector())
        self._woken: deque[Any] = deque()
        self._later: deque[Any] = deque()

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        if callback is futures._set_result_unless_cancelled:
            return super().call_at(when, self._wake, callback, *args, context=context)

        def due() -> None:
            # A timeout has its turn behind the answer that may be there already, and that may call it off.
            self.call_soon(lambda: None if handle.cancelled() else callback(*args))

        handle = super().call_at(when, due, context=context)
        return handle

    def _wake(self, callback: Callable[..., Any], *args: Any) -> None:
        before = len(self._ready)
        callback(*args)
        woken = [self._ready.pop() for _ in range(len(self._ready) - before)]
        self._woken.extend(reversed(woken))

    def _run_once(self) -> None:
        ready = self._ready
        # One by one: another thread may add to them meanwhile.
        for _ in range(len(ready)):
            self._later.append(ready.popleft())
        for queue in (self._woken, self._later):
            for _ in range(len(queue) if self._stopping else min(AT_ONCE, len(queue))):
                ready.append(queue.popleft())
        super()._run_once()


class _Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return _Loop()


def use() -> None:
    """Have the loops that this process and its forks make from now on be such ones; a second call changes nothing."""
    asyncio.set_event_loop_policy(_Policy())
