"""Items shared among threads, their results in order, and threads that end when nobody waits for them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

from dkt.base.stopping import result_of

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_local = threading.local()


class AbandonedError(Exception):
    """Nobody waits for the result of this thread any more."""


def end_with(abandoned: threading.Event) -> None:
    """Have ``check_abandoned`` of this thread look at an event."""
    _local.abandoned = abandoned


def check_abandoned() -> None:
    """Raise AbandonedError if nobody waits for this thread's result; to be called now and then.

    A program that is interrupted ends when all its threads have.
    """
    abandoned = getattr(_local, "abandoned", None)
    if abandoned is not None and abandoned.is_set():
        raise AbandonedError


def results_in_order(
    function: Callable[[Item], Outcome],
    items: Iterable[Item],
    workers: Callable[[], int],
    pool: Callable[[int], Executor],
) -> Iterator[Outcome]:
    """The results for all items in their order, each computed by one thread; items are made in this one.

    One item more than there are threads is at hand, so that none of them waits for whoever takes the results.
    An error of ``function``, or of the making of items, is raised after the results of all items before.

    Args:
        function: of an item.
        items: one after another.
        workers: how many threads to use; asked before every item. With 1 this thread computes.
        pool: threads, at least so many.
    """
    waiting: deque[Future[Outcome]] = deque()
    made = iter(items)
    error: Exception | None = None
    try:
        while True:
            try:
                item = next(made)
            except StopIteration:
                break
            except Exception as raised:
                error = raised
                break
            number = workers()
            if number > 1:
                waiting.append(pool(number).submit(function, item))
            while len(waiting) > (number if number > 1 else 0):
                yield result_of(waiting.popleft())
            if number == 1:
                yield function(item)
        while waiting:
            yield result_of(waiting.popleft())
        if error is not None:
            raise error
    finally:
        for future in waiting:
            future.cancel()
