"""One word further: from a set of places in a lattice to the places after each word that can follow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dkt.base.grouping import best_of_each, expand
from dkt.lat.word_closure import WordClosure


@dataclass(frozen=True)
class WordStep:
    """The places after one word, n of them.

    Attributes:
        label: the word.
        junctions: where one is, each junction once, in order.
        graph, acoustic: costs up to there, float64 of shape ``(n,)``.
        owners: from which of the places before it one comes.
        words, legs: over which word arc, and then which leg, of the closure.
    """

    label: int
    junctions: np.ndarray
    graph: np.ndarray
    acoustic: np.ndarray
    owners: np.ndarray
    words: np.ndarray
    legs: np.ndarray


def words_after(
    closure: WordClosure,
    junctions: np.ndarray,
    graph: np.ndarray,
    acoustic: np.ndarray,
    limit: float,
    beam: float,
) -> Iterator[WordStep]:
    """Each word that can follow a set of places, and the best ways to the places after it.

    Args:
        closure: of the lattice.
        junctions: where one is, shape ``(n,)``.
        graph, acoustic: costs up to there, shape ``(n,)``.
        limit: words without a whole path of at most this cost are left out.
        beam: and so are places worse than the best after the same word by more than this.
    """
    owners, words = expand(closure.word_offsets[junctions], closure.word_offsets[junctions + 1])
    graph = graph[owners] + closure.word_graph[words]
    acoustic = acoustic[owners] + closure.word_acoustic[words]
    entries, labels = closure.word_entries[words], closure.words[words]
    total = graph + acoustic
    near = _near(labels, total + closure.entry_beta[entries], limit, beam)
    near = near[best_of_each(labels[near], entries[near], total[near])]
    # From the entries on to junctions.
    begun, legs = expand(closure.leg_offsets[entries[near]], closure.leg_offsets[entries[near] + 1])
    taken = near[begun]
    graph = graph[taken] + closure.leg_graph[legs]
    acoustic = acoustic[taken] + closure.leg_acoustic[legs]
    total, labels, reached = graph + acoustic, labels[taken], closure.leg_junctions[legs]
    rows = _near(labels, total + closure.beta[reached], limit, beam)
    rows = rows[best_of_each(labels[rows], reached[rows], total[rows])]
    for group in np.split(rows, np.flatnonzero(np.diff(labels[rows])) + 1) if len(rows) else []:
        yield WordStep(
            int(labels[group[0]]),
            reached[group],
            graph[group],
            acoustic[group],
            owners[taken[group]],
            words[taken[group]],
            legs[group],
        )


def _near(labels: np.ndarray, costs: np.ndarray, limit: float, beam: float) -> np.ndarray:
    """The rows of labels that a path within the limit has, without those worse than the best by the beam.

    Whether a row stays must not depend on the limit: sets of places that are equal but for the way that led
    there would not be found to be equal.
    """
    unique, groups = np.unique(labels, return_inverse=True)
    best = np.full(len(unique), np.inf)
    np.minimum.at(best, groups, costs)
    best = best[groups]
    return np.flatnonzero((best <= limit) & (costs <= best + beam))
