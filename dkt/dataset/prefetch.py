"""Reading ahead: the next batches are made while the network learns from this one."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from dkt.nnet.threads import compute_alone

T = TypeVar("T")

_DEPTH = 8


class _End:
    """What comes after the last item: nothing, or the error that ended the making."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Prefetcher(Generic[T]):
    """Items made by one thread in the background, in their order; use it as a context manager.

    An error of the maker is raised where its item would have come. Leaving the context ends the thread,
    whether all items were taken or not.

    Args:
        items: what is made; it runs in the background and must not share what it changes with the taker.
        depth: so many items are made ahead at most.

    Attributes:
        waited: seconds that the taker had to wait for items.
    """

    def __init__(self, items: Iterable[T], depth: int = _DEPTH) -> None:
        self._items = items
        # Both of the simple kind: on a busy processor threads that share a lock stand in each other's way.
        self._made: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(depth):
            self._room.put(None)
        self._stopped = False
        self._thread = threading.Thread(target=self._make, name="prefetch", daemon=True)
        self.waited = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        # If it waits for room, it shall see that nobody wants more.
        self._room.put(None)
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while True:
            began = time.monotonic()
            item = self._made.get()
            self.waited += time.monotonic() - began
            if not isinstance(item, _End):
                self._room.put(None)
                yield item
                continue
            # For whoever asks again.
            self._made.put(item)
            if item.error is not None:
                raise item.error
            return

    def _make(self) -> None:
        compute_alone()
        end = _End()
        try:
            for item in self._items:
                self._room.get()
                if self._stopped:
                    break
                self._made.put(item)
        except BaseException as error:
            end = _End(error)
        finally:
            # Now, in the thread that ran it, and not whenever it is forgotten.
            if isinstance(self._items, Generator):
                self._items.close()
        self._made.put(end)
