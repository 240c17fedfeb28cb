"""Sharing the utterances of a data directory out to jobs, as Kaldi's ``utils/split_scp.pl`` does.

The splitter of data directories and the writer of alignments use this, so that ``ali.JOB.gz`` holds the
utterances of ``split<N>/JOB``. It needs Python alone: the splitter is called for every stage of a recipe.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import chain
from typing import TypeVar

from dkt.base.errors import DktError

K = TypeVar("K", bound=Hashable)


def split_utterances(pairs: Sequence[tuple[K, K]], num_parts: int) -> list[list[tuple[K, K]]]:
    """Parts of whole speakers; where there are fewer speakers than parts, of utterances.

    The stages of a recipe choose between ``split<N>`` and ``split<N>utt`` by the same rule.

    Args:
        pairs: (utterance, speaker), utterances of a speaker side by side.
        num_parts: at least 1.

    Raises:
        DktError: there are fewer utterances than parts.
    """
    num_speakers = len({speaker for _, speaker in pairs})
    return (split_by_utterance if num_speakers < num_parts else split_by_speaker)(pairs, num_parts)


def split_by_speaker(pairs: Sequence[tuple[K, K]], num_parts: int) -> list[list[tuple[K, K]]]:
    """Parts of whole speakers, balanced in utterances.

    Raises:
        DktError: there are fewer speakers than parts.
    """
    groups = list(group_by_speaker(pairs).values())
    if num_parts > len(groups):
        raise DktError(
            f"cannot split {len(groups)} speakers into {num_parts} parts",
            hint=f"lower --nj to at most {len(groups)}, or split with --per-utt",
        )
    bounds = balanced_bounds([len(group) for group in groups], num_parts)
    return [list(chain.from_iterable(groups[bounds[part] : bounds[part + 1]])) for part in range(num_parts)]


def split_by_utterance(pairs: Sequence[tuple[K, K]], num_parts: int) -> list[list[tuple[K, K]]]:
    """Parts of consecutive utterances, whose sizes differ by one at most, the larger ones first.

    Raises:
        DktError: there are fewer utterances than parts.
    """
    if num_parts > len(pairs):
        raise DktError(
            f"cannot split {len(pairs)} utterances into {num_parts} parts",
            hint=f"lower --nj to at most {len(pairs)}",
        )
    size, num_larger = divmod(len(pairs), num_parts)
    bounds = [part * size + min(part, num_larger) for part in range(num_parts + 1)]
    return [list(pairs[bounds[part] : bounds[part + 1]]) for part in range(num_parts)]


def group_by_speaker(pairs: Sequence[tuple[K, K]]) -> dict[K, list[tuple[K, K]]]:
    """Speaker to its pairs, in the order in which speakers first appear."""
    pairs_of: dict[K, list[tuple[K, K]]] = {}
    for pair in pairs:
        pairs_of.setdefault(pair[1], []).append(pair)
    return pairs_of


def balanced_bounds(counts: list[int], num_parts: int) -> list[int]:
    """Where to cut a row of speakers so that the parts have nearly equal numbers of utterances.

    Begins with equal numbers of speakers; then a boundary moves by one speaker as long as that brings the
    two parts beside it nearer to each other (each move lowers the sum of squares, so it ends). Visiting
    order as in Kaldi's utils/split_scp.pl, so that both toolkits give the same parts.

    Args:
        counts: utterances of each speaker.
        num_parts: at most ``len(counts)``.

    Returns:
        ``num_parts + 1`` bounds; part i is speakers ``bounds[i]`` to ``bounds[i + 1] - 1``, never none.
    """
    bounds = [-(-part * len(counts) // num_parts) for part in range(num_parts + 1)]
    sizes = [sum(counts[bounds[part] : bounds[part + 1]]) for part in range(num_parts)]

    def move(giver: int, taker: int) -> bool:
        if bounds[giver + 1] - bounds[giver] < 2:
            return False
        forward = taker > giver
        count = counts[bounds[taker] - 1] if forward else counts[bounds[giver]]
        gap = sizes[giver] - sizes[taker]
        if abs(gap - 2 * count) >= abs(gap):
            return False
        bounds[max(giver, taker)] += -1 if forward else 1
        sizes[giver] -= count
        sizes[taker] += count
        return True

    changed = True
    while changed:
        changed = False
        for part in range(num_parts):
            if part + 1 < num_parts:
                changed |= move(part, part + 1)
            if part > 0:
                changed |= move(part, part - 1)
    return bounds
