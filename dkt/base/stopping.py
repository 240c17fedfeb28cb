"""Ending by a signal in good order: what is finished is kept, temporary files and workers are not."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from types import FrameType
from typing import TypeVar

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
# A signal to a process group and one to its members are one stop.
_ONE_STOP_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1
_WAKE_SECONDS = 0.5

T = TypeVar("T")


class Stopped(BaseException):
    """A signal asked the program to end. No Exception: what goes on after errors does not go on after it.

    Attributes:
        signum: the signal.
        kept: what is kept of the work, for the message; None for nothing to tell.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.kept: str | None = None

    def __str__(self) -> str:
        how = (
            "interrupted"
            if self.signum == signal.SIGINT
            else f"stopped by {signal.Signals(self.signum).name}"
        )
        return f"{how}: {self.kept}" if self.kept else how


class _State:
    held = 0
    waiting = 0
    stopped_at = float("-inf")


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Within it SIGTERM, SIGHUP and SIGINT raise ``Stopped`` in the main thread.

    Worker processes are ended first. A signal that is ignored, as SIGHUP under nohup, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.getsignal(signum) for signum in _SIGNALS}
    _State.held, _State.waiting, _State.stopped_at = 0, 0, float("-inf")
    try:
        for signum, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(signum, _stop)
        yield
    finally:
        for signum, handler in before.items():
            # What C has set cannot be set again.
            if handler is not None:
                signal.signal(signum, handler)


def _stop(signum: int, _frame: FrameType | None) -> None:
    now = time.monotonic()
    if now - _State.stopped_at < _ONE_STOP_SECONDS:
        return
    _State.stopped_at = now
    _end_workers()
    if _State.held:
        _State.waiting = signum
    else:
        raise Stopped(signum)


def _end_workers() -> None:
    """End the processes of ``multiprocessing``, which would be waited for."""
    module = sys.modules.get("multiprocessing")
    if module is not None:
        for child in module.active_children():
            child.kill()


def result_of(future: Future[T]) -> T:
    """The result of a call, or what it raised; a signal ends the waiting, however it comes.

    The lock that ``Future.result`` waits for is not woken by a signal that came just before, or to another
    thread: Python would run the handler only when the call is done.
    """
    while not wait([future], _WAKE_SECONDS).done:
        pass
    return future.result()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """What is within it is done to its end; a signal that comes meanwhile raises ``Stopped`` after it."""
    _State.held += 1
    try:
        yield
    finally:
        _State.held -= 1
        if _State.waiting and not _State.held:
            signum, _State.waiting = _State.waiting, 0
            raise Stopped(signum)


def end_with_parent() -> None:
    """Have the kernel (Linux) kill this process when the thread that started it ends."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
