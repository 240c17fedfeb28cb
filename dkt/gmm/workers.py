"""The worker processes of GMM training and alignment, and what each of them does."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np

from dkt.base.errors import DktError
from dkt.base.stopping import end_with_parent, result_of
from dkt.decoder.decodable import AcousticModel
from dkt.decoder.state_chain import state_chain
from dkt.decoder.training_graph import TrainingGraphCompiler
from dkt.decoder.viterbi import Alignment, AlignmentError, AlignOptions, UtteranceGraph, ViterbiAligner
from dkt.feat.speech_activity import correlations, split
from dkt.gmm.flat_start import FlatStart
from dkt.gmm.gmm import AmDiagGmm
from dkt.gmm.mle import GmmStats, accumulate
from dkt.hmm.transition_model import TransitionModel
from dkt.hmm.tree import ContextDependency

_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "BLIS_NUM_THREADS")


class WorkerPool:
    """Processes that each hold an object of their own and call its methods when told.

    The packages that search FSTs keep Python's global lock, so threads would take turns. Each computes matrix
    products in one thread: results then depend neither on the number of processes nor on that of cores.

    Args:
        num_workers: the number of processes.
        factory: makes the object of a process.
        args: the arguments of ``factory``.

    Raises:
        DktError: ``factory`` raised it.
    """

    def __init__(self, num_workers: int, factory: Callable[..., Any], *args: object) -> None:
        context = get_context("spawn")
        self._executors = [ProcessPoolExecutor(1, mp_context=context) for _ in range(num_workers)]
        try:
            with _one_thread_each():  # a process starts with its first call
                calls = [executor.submit(_start_worker, factory, args) for executor in self._executors]
            for call in calls:
                self.result(call)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        for executor in self._executors:
            executor.shutdown(wait=True, cancel_futures=True)

    def __len__(self) -> int:
        return len(self._executors)

    def submit(self, worker: int, method: str, *args: object) -> Future:
        """Have process ``worker`` call ``method`` of its object after what it was told before."""
        try:
            return self._executors[worker % len(self)].submit(_call, method, args)
        except BrokenProcessPool:
            raise _worker_died() from None

    def result(self, future: Future) -> Any:
        """Wait for the result of a call; what it raised is raised here.

        Raises:
            DktError: the process died.
        """
        try:
            return result_of(future)
        except BrokenProcessPool:
            raise _worker_died() from None

    def call_all(self, method: str, *args: object) -> list[Any]:
        """Have all processes call ``method``; the results in their order."""
        return [self.result(f) for f in [self.submit(worker, method, *args) for worker in range(len(self))]]


def _worker_died() -> DktError:
    return DktError(
        "a worker process died", hint="the machine may be out of memory: try a smaller --nj, or look above"
    )


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    saved = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_worker_object: Any = None


def _start_worker(factory: Callable[..., Any], args: tuple[object, ...]) -> None:
    global _worker_object
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent sees to its processes
    end_with_parent()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker_object = factory(*args)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _call(method: str, args: tuple[object, ...]) -> Any:
    return getattr(_worker_object, method)(*args)


@dataclass(frozen=True)
class Utterance:
    """An utterance to align: its name, the integers of its words, its features of shape ``(T, F)``."""

    name: str
    words: list[int]
    features: np.ndarray


def _compile(compiler: TrainingGraphCompiler, utterance: Utterance) -> UtteranceGraph:
    try:
        return UtteranceGraph(compiler.compile(utterance.words), compiler.transitions)
    except DktError as error:
        raise DktError(str(error), utt=utterance.name) from None


class AlignWorker:
    """Aligns what it is given, for a model that stays the same."""

    def __init__(
        self,
        tree: ContextDependency,
        transitions: TransitionModel,
        lang_dir: Path,
        model: AcousticModel,
        options: AlignOptions,
    ) -> None:
        self.compiler = TrainingGraphCompiler(tree, transitions, lang_dir)
        self.aligner = ViterbiAligner(model, transitions, options)

    def align(self, utterances: Sequence[Utterance]) -> list[Alignment | str]:
        """The alignment of every utterance, or why there is none."""
        results: list[Alignment | str] = []
        for utterance in utterances:
            graph = _compile(self.compiler, utterance)
            try:
                results.append(self.aligner.align(graph, utterance.features))
            except AlignmentError as error:
                results.append(str(error))
        return results


@dataclass
class AlignReport:
    """One alignment of all utterances: how many needed the wider beam, and which failed for which reason."""

    num_retried: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, other: AlignReport) -> None:
        """Add the report on other utterances."""
        self.num_retried += other.num_retried
        self.failed |= other.failed


@dataclass
class _Entry:
    utterance: Utterance
    graph: UtteranceGraph
    alignment: Alignment | None = None


def sum_arrays(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """The sum of arrays of one shape, in their order."""
    return np.add.reduce(list(arrays))


class TrainingWorker:
    """The utterances of one process, in blocks: features, graphs and alignments."""

    def __init__(self, tree: ContextDependency, transitions: TransitionModel, lang_dir: Path) -> None:
        self.compiler = TrainingGraphCompiler(tree, transitions, lang_dir)
        self._all_blocks: dict[int, list[_Entry]] = {}
        self._chosen: Collection[int] | None = None

    @property
    def blocks(self) -> dict[int, list[_Entry]]:
        """The blocks to work on, see ``choose``."""
        return {n: b for n, b in self._all_blocks.items() if self._chosen is None or n in self._chosen}

    @property
    def entries(self) -> list[_Entry]:
        """The utterances of ``blocks``."""
        return [entry for block in self.blocks.values() for entry in block]

    def block_size(self) -> dict[int, int]:
        """The number of utterances of each block."""
        return {block: len(entries) for block, entries in self.blocks.items()}

    def choose(self, blocks: Collection[int] | None) -> None:
        """Work on some of the blocks from now on, or on all."""
        self._chosen = blocks

    def load(self, block: int, utterances: Sequence[Utterance]) -> None:
        """Take a block in and compile its graphs."""
        self._all_blocks[block] = [_Entry(u, _compile(self.compiler, u)) for u in utterances]

    def correlations(self, num_static: int) -> dict[int, np.ndarray]:
        """``speech_activity.correlations`` of each block, over the first ``num_static`` columns."""
        return {
            block: sum_arrays(correlations(entry.utterance.features[:, :num_static]) for entry in entries)
            for block, entries in self.blocks.items()
        }

    def evidence(self, direction: np.ndarray) -> dict[int, np.ndarray]:
        """``speech_activity.Split.evidence`` of each block."""
        columns = slice(len(direction))
        return {
            block: sum_arrays(split(e.utterance.features[:, columns], direction).evidence for e in entries)
            for block, entries in self.blocks.items()
        }

    def align_flat(self, is_silence: np.ndarray, start: FlatStart) -> AlignReport:
        """Align all utterances without a model."""
        report = AlignReport()
        for entry in self.entries:
            entry.alignment = None
            try:
                chain = state_chain(entry.graph.fst, is_silence, entry.utterance.name)
                ids = start.align(chain, entry.utterance.features, entry.utterance.name)
            except AlignmentError as error:
                report.failed[entry.utterance.name] = str(error)
                continue
            entry.alignment = Alignment(ids, 0.0, False, chain.graph_cost)
        return report

    def pauses(self, is_silence: np.ndarray, longer_than: int) -> dict[int, np.ndarray]:
        """Of each block: the frames in silence ``longer_than`` so many, and all; as far as it is aligned."""
        counts = {block: np.zeros(2) for block in self.blocks}
        for block, entries in self.blocks.items():
            for ids in (entry.alignment.transition_ids for entry in entries if entry.alignment):
                bounds = np.flatnonzero(np.diff(is_silence[ids].astype(int), prepend=0, append=0))
                lengths = bounds[1::2] - bounds[::2]
                counts[block] += lengths[lengths > longer_than].sum(), len(ids)
        return counts

    def align(self, transitions: TransitionModel, gmm: AmDiagGmm, options: AlignOptions) -> AlignReport:
        """Align all utterances anew; one that fails is without an alignment then."""
        aligner = ViterbiAligner(gmm, transitions, options)
        report = AlignReport()
        for entry in self.entries:
            try:
                entry.alignment = aligner.align(entry.graph, entry.utterance.features, entry.alignment)
            except AlignmentError as error:
                entry.alignment = None
                report.failed[entry.utterance.name] = str(error)
                continue
            report.num_retried += entry.alignment.retried
        return report

    def accumulate(self, transitions: TransitionModel, gmm: AmDiagGmm) -> dict[int, GmmStats]:
        """The statistics of each block, as far as it is aligned."""
        stats = {}
        for block, entries in self.blocks.items():
            aligned = [(e.utterance.features, e.alignment.transition_ids) for e in entries if e.alignment]
            if aligned:
                features, alignments = (np.concatenate(parts) for parts in zip(*aligned, strict=True))
                stats[block] = accumulate(gmm, transitions, features, alignments)
        return stats

    def alignments(self) -> dict[str, np.ndarray]:
        """The present alignments."""
        return {e.utterance.name: e.alignment.transition_ids for e in self.entries if e.alignment}
