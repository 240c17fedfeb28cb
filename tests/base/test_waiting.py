"""Waiting for other threads and processes, which a signal ends."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

import pytest

from dkt.base.stopping import Stopped, result_of, stoppable
from dkt.base.threads import results_in_order


def signal_to_this_thread() -> None:
    """A signal that does not wake the main thread, as one that comes just before it begins to wait."""
    time.sleep(0.2)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)


@pytest.mark.parametrize("way", ["alone", "in order"])
def test_a_signal_to_another_thread_ends_the_waiting(way: str) -> None:
    ended = Event()
    with ThreadPoolExecutor(3) as pool:
        began = time.monotonic()
        with pytest.raises(Stopped), stoppable():
            pool.submit(signal_to_this_thread)
            if way == "alone":
                result_of(pool.submit(ended.wait, 20))
            else:
                list(results_in_order(lambda _: ended.wait(20), [1, 2], lambda: 2, lambda _: pool))
        assert time.monotonic() - began < 10
        ended.set()


def test_results_and_errors_are_those_of_the_call() -> None:
    future: Future[int] = Future()
    future.set_result(3)
    assert result_of(future) == 3
    failed: Future[int] = Future()
    failed.set_exception(TimeoutError("its own"))
    with pytest.raises(TimeoutError, match="its own"):
        result_of(failed)
