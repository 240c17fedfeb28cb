"""Passes over tables of lattices, logged as Kaldi's programs do: best paths, oracle error rates, depths."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from dkt.base.errors import DktError
from dkt.base.tally import Tally
from dkt.lat.lattice import CompactLattice
from dkt.lat.oracle import OraclePath, oracle_path
from dkt.lat.paths import BestPath, CostScale, best_path, count_arc_frames, count_frames
from dkt.score.compute_wer import WerStats
from dkt.util.progress import told

logger = logging.getLogger(__name__)

Lattices = Iterable[tuple[str, CompactLattice]]
_NO_PATH = "no path leads to a final state"


def take_best_paths(
    lattices: Lattices, scale: CostScale, tally: Tally, write: Callable[[str, BestPath], None]
) -> None:
    """Find the best path of every lattice (``lattice-best-path``).

    Args:
        lattices: utterances and lattices.
        scale: how costs are weighed.
        tally: counts the lattices without a path.
        write: takes every utterance and its best path.
    """
    graph = acoustic = 0.0
    num_frames = 0
    for utt, lattice in told(lattices, tally.what):
        path = best_path(lattice, scale)
        if path is None:
            tally.drop(utt, _NO_PATH)
            continue
        tally.done()
        costs = path.graph_cost, path.acoustic_cost, path.graph_cost + path.acoustic_cost
        logger.info(
            "For utterance %s, best cost %g + %g = %g over %d frames.", utt, *costs, len(path.alignment)
        )
        write(utt, path)
        graph, acoustic = graph + path.graph_cost, acoustic + path.acoustic_cost
        num_frames += len(path.alignment)
    if num_frames:
        logger.info(
            "Overall cost per frame is %g = %g [graph] + %g [acoustic] over %d frames.",
            (graph + acoustic) / num_frames,
            graph / num_frames,
            acoustic / num_frames,
            num_frames,
        )
    logger.info("Done %d lattices, failed for %d", tally.num_done, tally.num_dropped)


def take_oracle_paths(
    lattices: Lattices,
    references: Mapping[str, Sequence[int]],
    wildcards: Collection[int],
    tally: Tally,
    write: Callable[[str, OraclePath], None],
) -> WerStats:
    """Find the path of every lattice with the fewest errors (``lattice-oracle``).

    Args:
        lattices: utterances and lattices.
        references: utterance to integers of words.
        wildcards: words that count for nothing.
        tally: counts the lattices without a reference or a path.
        write: takes every utterance and its oracle path.

    Returns:
        The errors of all utterances done.
    """
    stats = WerStats()
    for utt, lattice in told(lattices, tally.what):
        if utt not in references:
            tally.drop(utt, "no reference present")
            continue
        path = oracle_path(lattice, references[utt], wildcards)
        if path is None:
            tally.drop(utt, _NO_PATH)
            continue
        tally.done()
        logger.info("Utterance %s: %s sub ]", utt, _rate(path))
        write(utt, path)
        stats.num_words += path.num_words
        stats.num_ins += path.num_ins
        stats.num_del += path.num_del
        stats.num_sub += path.num_sub
    # Kaldi's steps/oracle_wer.sh parses this line.
    logger.info("Overall %s substitutions ]", _rate(stats))
    logger.info("Scored %d lattices, %d not present in ref.", tally.num_done, tally.num_dropped)
    return stats


def _rate(counts: OraclePath | WerStats) -> str:
    share = 100.0 * counts.num_errors / counts.num_words if counts.num_words else float("nan")
    return (
        f"%WER {share:g} [ {counts.num_errors} / {counts.num_words}, {counts.num_ins} insertions, "
        f"{counts.num_del} deletions, {counts.num_sub}"
    )


def take_depths(lattices: Lattices, path: str, write: Callable[[str, float], None]) -> float:
    """Count the arcs that cross a frame on average (``lattice-depth``).

    Args:
        lattices: utterances and lattices.
        path: where they come from, for errors.
        write: takes every utterance and its depth, 1 where there are no frames.

    Returns:
        The depth over all frames.

    Raises:
        DktError: paths of a lattice differ in length, or there are no frames at all.
    """
    num_done = num_arcs = arc_frames = num_frames = 0
    for utt, lattice in told(lattices, "lattice-depth"):
        try:
            frames = count_frames(lattice)
        except DktError as error:
            raise DktError(str(error), path=path, utt=utt) from None
        crossed = count_arc_frames(lattice)
        write(utt, crossed / frames if frames else 1.0)
        num_done += 1
        num_arcs, arc_frames, num_frames = (
            num_arcs + lattice.num_arcs,
            arc_frames + crossed,
            num_frames + frames,
        )
    logger.info("Done %d lattices.", num_done)
    if not num_frames:
        raise DktError("the lattices have no frames", path=path)
    # Kaldi's steps/oracle_wer.sh parses this line.
    logger.info("Overall density is %g over %d frames.", arc_frames / num_frames, num_frames)
    logger.info("%d arcs, %.2f per frame", num_arcs, num_arcs / num_frames)
    return arc_frames / num_frames
