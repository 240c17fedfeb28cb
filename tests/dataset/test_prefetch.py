"""Reading ahead: order, errors, an early end, and the time that was waited."""

from __future__ import annotations

import threading
import time

import pytest

from dkt.dataset.prefetch import Prefetcher


def threads() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


def test_items_come_in_order_from_another_thread_and_no_more_than_the_depth_ahead():
    made = []

    def items():
        for number in range(20):
            made.append(threading.current_thread().name)
            yield number

    with Prefetcher(items(), depth=3) as taken:
        seen = []
        for number in taken:
            time.sleep(0.005)
            # Those in the queue, the one in hand, and the one that waits for room.
            assert len(made) <= number + 5
            seen.append(number)
    assert seen == list(range(20)) and set(made) == {"prefetch"}
    assert threads() == 0


def test_an_error_comes_where_its_item_would_have_come():
    def items():
        yield from range(3)
        raise ValueError("the archive is damaged")

    seen = []
    with pytest.raises(ValueError, match="the archive is damaged"), Prefetcher(items(), 8) as taken:
        seen.extend(taken)
    # Whoever iterates again learns of it again instead of waiting for ever.
    with pytest.raises(ValueError), Prefetcher(items(), 8) as taken:
        for _ in range(2):
            try:
                for number in taken:
                    seen.append(number)
            except ValueError:
                again = True
        assert again
        list(taken)
    assert seen == [0, 1, 2] * 2 and threads() == 0


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_who_leaves_early_ends_the_maker_too(error):
    closed = []

    def items():
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed.append(threading.current_thread().name)

    def leave():
        with Prefetcher(items(), 2) as taken:
            for number in taken:
                if number == 3 and error:
                    raise error
                if number == 3:
                    break

    if error:
        with pytest.raises(error):
            leave()
    else:
        leave()
    # Its files are closed at once, in the thread that opened them.
    assert closed == ["prefetch"] and threads() == 0


def test_waiting_is_measured_and_work_that_overlaps_is_not():
    def slow():
        for number in range(5):
            time.sleep(0.05)
            yield number

    with Prefetcher(slow()) as taken:
        list(taken)
    assert taken.waited > 0.2
    with Prefetcher(slow()) as overlapping:
        for _ in overlapping:
            time.sleep(0.1)
    # All but the first was made while the taker was at work.
    assert overlapping.waited < 0.15
