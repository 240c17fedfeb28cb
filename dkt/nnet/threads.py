"""Threads of this process, used where results do not depend on how many there are.

PyTorch itself computes in one thread. What is shared among several is

- a matrix product, if its library gives the same bits in that many threads: this is tried with the first
  product of every shape, and where it does not hold the shape stays with one thread;
- the recurrence of an LSTM, whose streams do not depend on each other (``dkt.nnet.native_lstm``);
- batches of an evaluation and utterances of a forward pass, each of which one thread does alone.

So the number may follow what the machine has to spare: a model does not tell how busy it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

import torch

from dkt.base.threads import Item, Outcome, results_in_order

#: Multiplications of a product that is worth waking threads for.
_WORTH_SHARING = 1 << 22
# Shapes that are remembered: batches of whole utterances are of very many.
_MOST_SHAPES = 4096


class Policy(Protocol):
    """Says how many threads to use."""

    def count(self) -> int:
        """Threads for the next step, which wait for each other."""

    def took(self, amount: int, seconds: float, typical: bool = True) -> None:
        """The step that ``count`` was asked for did ``amount`` of work.

        It was not ``typical`` if products of new shapes were tried in it.
        """

    def workers(self) -> int:
        """Threads that need not wait for each other."""


class Fixed:
    """Always the same number."""

    def __init__(self, number: int = 1) -> None:
        self.number = number

    def count(self) -> int:
        """As ``Policy``."""
        return self.number

    def took(self, amount: int, seconds: float, typical: bool = True) -> None:
        """As ``Policy``."""

    def workers(self) -> int:
        """As ``Policy``."""
        return self.number


_policy: Policy = Fixed()
_count = 1
_typical = True
# Of products, by shape and number of threads: seen once, then whether threads change no bit.
_unchanged: dict[Hashable, bool | None] = {}
_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def use(policy: Policy) -> None:
    """Have all that follows ask ``policy``; PyTorch is left with one thread."""
    global _policy
    _policy = policy
    compute_alone()


@contextmanager
def using(policy: Policy) -> Iterator[None]:
    """Within it, as ``use``; after it all is as it was before."""
    global _policy
    before, number = _policy, torch.get_num_threads()
    use(policy)
    try:
        yield
    finally:
        _policy = before
        torch.set_num_threads(number)


def compute_alone() -> None:
    """PyTorch's own operators in the calling thread use no others, whatever happens elsewhere."""
    torch.get_num_threads()  # what PyTorch does once a thread, and would do later with another number
    torch.set_num_threads(1)


def count() -> int:
    """Threads that the step at hand may use; 1 outside ``step``."""
    return _count


@contextmanager
def step(amount: int) -> Iterator[None]:
    """One of many like steps of a training; its time tells the policy what threads are worth.

    Args:
        amount: of work, by which steps are compared: frames.
    """
    global _count, _typical
    _count, _typical = _policy.count(), True
    began = time.perf_counter()
    try:
        yield
    finally:
        _count = 1
    _policy.took(amount, time.perf_counter() - began, _typical)


def shared_product(
    compute: Callable[[], torch.Tensor], left: torch.Tensor, right: torch.Tensor
) -> torch.Tensor:
    """A product in as many threads as the step may use.

    Args:
        compute: makes it; it must give the same if it is called again.
        left, right: the factors, ``(B, K)`` and ``(M, K)``.

    Returns:
        The bits of one thread.
    """
    global _typical
    threads = _count
    if threads == 1 or left.shape[0] * right.numel() < _WORTH_SHARING:
        return compute()
    key = (left.shape, right.shape, left.stride(), right.stride(), left.dtype, threads)
    if key not in _unchanged:
        _typical = False
        # A shape that does not come again is not worth a trial.
        if len(_unchanged) < _MOST_SHAPES:
            _unchanged[key] = None
        return compute()
    same = _unchanged[key]
    if same:
        return _in_threads(compute, threads)
    alone = compute()
    if same is None:
        _typical = False
        _unchanged[key] = _same_bits(alone, _in_threads(compute, threads))
    return alone


def _in_threads(compute: Callable[[], torch.Tensor], threads: int) -> torch.Tensor:
    torch.set_num_threads(threads)
    try:
        return compute()
    finally:
        torch.set_num_threads(1)


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(
        one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8)
    )


def run_shares(call: Callable[[int], None], number: int) -> None:
    """Call with 0 to ``number`` - 1, each in a thread of its own, the first in this one."""
    if number == 1:
        call(0)
        return
    pool = _threads(number - 1)
    waiting = [pool.submit(call, share) for share in range(1, number)]
    try:
        call(0)
    finally:
        for future in waiting:
            future.result()


def map_in_order(function: Callable[[Item], Outcome], items: Iterable[Item]) -> Iterator[Outcome]:
    """As ``results_in_order``, in as many threads as the policy says."""
    return results_in_order(function, items, lambda: _policy.workers(), _threads)


def _threads(number: int) -> ThreadPoolExecutor:
    """A pool of at least so many threads, which are started when they are needed and sleep otherwise."""
    global _pool, _pool_size
    if _pool is None or number > _pool_size:
        if _pool is not None:
            _pool.shutdown(wait=False)
        _pool = ThreadPoolExecutor(number, thread_name_prefix="dkt", initializer=compute_alone)
        _pool_size = number
    return _pool
