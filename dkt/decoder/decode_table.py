"""What the decoders of log-likelihoods share: checks, errors, and the way through a table of utterances."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np

from dkt.base.errors import DktError
from dkt.base.memory import memory_for
from dkt.base.tally import Tally
from dkt.base.threads import end_with, results_in_order
from dkt.fstext.fst import FstArrays
from dkt.util.progress import told

logger = logging.getLogger(__name__)

_FRAMES_PER_SECOND = 100.0


class NoPathError(DktError):
    """An utterance for which the decoder found no path that may be used."""


class Found(Protocol):
    """What a search gives: the log-likelihood of the best path, and whether it ends in a final state."""

    @property
    def loglike(self) -> float: ...

    @property
    def reached_final(self) -> bool: ...


FoundT = TypeVar("FoundT", bound=Found)
_Given = TypeVar("_Given", bound=Found, covariant=True)


class Search(Protocol[_Given]):
    """Searches one utterance after another."""

    def search(self, loglikes: np.ndarray, acoustic_scale: float | None = None) -> _Given:
        """Search log-likelihoods of shape ``(T, P)``, with another acoustic scale if one is given."""
        ...


def check_acoustic_scale(scale: float) -> None:
    """Raise DktError unless the factor on log-likelihoods is above 0 and finite."""
    if not 0.0 < scale < np.inf:
        raise DktError(f"the acoustic scale is {scale}, expected a number above 0")


def check_loglikes(loglikes: np.ndarray, num_pdfs: int) -> None:
    """Raise DktError unless there are frames of that many pdfs, none of them NaN or +inf; -inf is fine."""
    if loglikes.ndim != 2 or loglikes.shape[1] != num_pdfs:
        raise DktError(
            f"log-likelihoods of shape {loglikes.shape}, expected {num_pdfs} columns, one per pdf",
            hint="use log-likelihoods and graph of one model",
        )
    if len(loglikes) == 0:
        raise DktError("no frames")
    best = loglikes.max()
    if np.isnan(best) or best == np.inf:
        raise DktError(
            "a log-likelihood is NaN or +inf", hint="look at the network and at its class-frame counts"
        )


def check_graph(graph: FstArrays, num_transition_ids: int) -> None:
    """Raise DktError for a graph that is empty, damaged or has input labels that the model does not."""
    if graph.start < 0:
        raise DktError("the graph is empty")
    # Neither the decoder nor the compiled search looks where an arc leads to.
    ends = graph.arcs["nextstate"]
    if graph.start >= graph.num_states or (
        len(ends) and not 0 <= ends.min() <= ends.max() < graph.num_states
    ):
        raise DktError("an arc of the graph leads to a state that is not there", hint="make the graph again")
    if graph.arcs["ilabel"].min(initial=0) < 0:
        raise DktError("the graph has a negative input label", hint="make it again")
    # The decoder reads past the end of its scores without noticing.
    label = int(graph.arcs["ilabel"].max(initial=0))
    if label > num_transition_ids:
        raise DktError(
            f"the graph has input label {label}, but the model only {num_transition_ids} transition-ids",
            hint="use the final.mdl that the graph was made with",
        )


def search_utterance(
    searcher: Search[FoundT],
    loglikes: np.ndarray,
    path: str,
    utt: str,
    acoustic_scale: float | None = None,
) -> FoundT:
    """``searcher.search`` with errors that name the file ``path`` and the utterance ``utt``.

    Raises:
        NoPathError: as ``searcher.search``, without the names, as a reason to drop the utterance.
        DktError: as ``searcher.search``, but for an utterance without frames, which is a NoPathError.
    """
    if len(loglikes) == 0:
        raise NoPathError("it has no frames")
    try:
        with memory_for("this utterance", "lower --beam, --max-active or --lattice-beam"):
            return searcher.search(loglikes, acoustic_scale)
    except NoPathError:
        raise
    except DktError as error:
        raise DktError(str(error), path=path, utt=utt) from None


def decode_table(
    searcher: Search[FoundT],
    loglikes: Iterable[tuple[str, np.ndarray]],
    path: str,
    tally: Tally,
    write: Callable[[str, FoundT], None],
    num_threads: int = 1,
) -> None:
    """Decode a table of log-likelihoods, utterance by utterance, and log as Kaldi's decoders do.

    Args:
        searcher: the search.
        loglikes: utterances and log-likelihoods of shape ``(T, P)``.
        path: the rspecifier that they come from, for errors.
        tally: counts the utterances without a path.
        write: takes every utterance and what was found, in the order of the table.
        num_threads: utterances searched at a time, each by a thread of its own.

    Raises:
        DktError: log-likelihoods of another model, or that are not numbers.
    """

    def search(entry: tuple[str, np.ndarray]) -> tuple[str, int, FoundT | NoPathError]:
        utt, matrix = entry
        try:
            with timer:
                return utt, len(matrix), search_utterance(searcher, matrix, path, utt)
        except NoPathError as error:
            return utt, len(matrix), error

    total, num_frames = 0.0, 0
    timer = SearchTimer(num_threads)
    entries = told(loglikes, tally.what, path, len)
    with _threads(num_threads) as pool:
        for utt, length, result in results_in_order(search, entries, lambda: num_threads, lambda _: pool):
            if isinstance(result, NoPathError):
                tally.drop(utt, str(result))
                continue
            tally.done()
            if not result.reached_final:
                logger.warning("utterance '%s' did not reach a final state: a partial path is written", utt)
            write(utt, result)
            total, num_frames = total + result.loglike, num_frames + length
            per_frame = result.loglike / length
            logger.info("Log-like per frame for utterance %s is %g over %d frames.", utt, per_frame, length)
    timer.log(num_frames)
    logger.info("Done %d utterances, failed for %d", tally.num_done, tally.num_dropped)
    if num_frames:
        logger.info("Overall log-likelihood per frame is %g over %d frames.", total / num_frames, num_frames)


@contextlib.contextmanager
def _threads(number: int) -> Iterator[ThreadPoolExecutor]:
    """A context with threads to search in; what they are at when it is left is abandoned."""
    ended = threading.Event()
    pool = ThreadPoolExecutor(number, "dkt", initializer=end_with, initargs=(ended,))
    try:
        yield pool
    finally:
        ended.set()
        pool.shutdown(wait=False, cancel_futures=True)


class SearchTimer:
    """Adds up the time in which at least one thread is inside its ``with`` blocks.

    Args:
        num_threads: for the log.
    """

    def __init__(self, num_threads: int = 1) -> None:
        self.seconds = 0.0
        self._num_threads = num_threads
        self._num_inside = 0
        self._begin = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if self._num_inside == 0:
                self._begin = time.perf_counter()
            self._num_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._num_inside -= 1
            if self._num_inside == 0:
                self.seconds += time.perf_counter() - self._begin

    def log(self, num_frames: int) -> None:
        """Log the time and the real-time factor of a decoding of ``num_frames`` frames, as Kaldi does."""
        factor = self._num_threads * self.seconds * _FRAMES_PER_SECOND / max(num_frames, 1)
        if self._num_threads > 1:
            logger.info("Decoded with %d threads.", self._num_threads)
        logger.info(
            "Time taken [excluding initialization] %.2fs: real-time factor %sassuming 100 frames/sec is %.3f",
            self.seconds,
            "per thread " if self._num_threads > 1 else "",
            factor,
        )
