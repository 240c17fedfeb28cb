"""The first alignment of a training, without a model: speech shares the loud frames, silence the quiet ones.

The frames of an utterance are shared out by dynamic programming: the states of words last about equally
long, a pause between words as long as it is, and every frame should sound like what it is taken for.
"""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from enum import Enum

import numpy as np

from dkt.decoder.state_chain import StateChain, StateRow
from dkt.decoder.viterbi import AlignmentError
from dkt.feat.speech_activity import split

_LONGEST = 4.0  # times its share of the speech: no word is longer, unless it is the only one
_COST_OF_PAUSE = 2.0  # nats
# Pairs of a frame and a length that are looked at: half a second. Longer recordings are shared out in blocks.
_MAX_PAIRS = 1e8
_PAIRS_AT_ONCE = 1 << 20  # what stays in the processor's cache


class Speech(Enum):
    """What is taken for speech: the upper or the lower class of ``speech_activity.split``; not known."""

    UPPER = "upper"
    LOWER = "lower"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class FlatStart:
    """A way to align without a model.

    Attributes:
        speech: what is taken for speech.
        direction: of ``speech_activity.split``, over as many columns of the features as it has.
    """

    speech: Speech
    direction: np.ndarray

    def align(self, chain: StateChain, features: np.ndarray, utt: str) -> np.ndarray:
        """Transition-ids of an utterance, shape ``(T,)``, int32.

        Raises:
            AlignmentError: there are fewer frames than states, or the states cannot take so many.
        """
        if self.speech is Speech.UNKNOWN:
            return spread_at_random(chain, len(features), utt)
        parted = split(features[:, : len(self.direction)], self.direction)
        return share_frames(chain, parted.speech_scores(self.speech is Speech.UPPER))


def spread_at_random(chain: StateChain, num_frames: int, utt: str) -> np.ndarray:
    """Share the frames out evenly over a random path, as Kaldi's ``align-equal-compiled`` does.

    Each pause is in it with probability 1/2; none is if there is no room. A name always gives the same path.

    Returns:
        Transition-ids, shape ``(T,)``, int32.

    Raises:
        AlignmentError: there are fewer frames than states, or the states cannot take so many.
    """
    rng = np.random.default_rng(zlib.crc32(utt.encode()))
    num_states = len(chain.states)
    places = [place for place in sorted(chain.pauses) if rng.random() < 0.5 or not num_states]
    rows, end = [], 0
    for place in places:
        rows += [chain.states[end:place], chain.pauses[place]]
        end = place
    rows.append(chain.states[end:])
    path = StateRow(np.concatenate([row.labels for row in rows]), np.concatenate([row.loops for row in rows]))
    states = path if num_frames >= len(path) else chain.states
    return states.spread(num_frames).astype(np.int32)


@dataclass(frozen=True)
class _Unit:
    """States that follow one another without any place for a pause, mostly a word."""

    begin: int
    end: int
    silent: bool


def share_frames(chain: StateChain, scores: np.ndarray) -> np.ndarray:
    """Align an utterance by how much its frames sound like speech.

    The cost of the n states of a word in d frames is that of a Gamma distribution of shape n whose mean is n
    times the utterance's speech frames per state, which is the least where all last equally long. Time grows
    with the square of the frames: of minutes, words begin and end at every so many frames only.

    Args:
        chain: the states of the transcript.
        scores: log-likelihood ratio of speech to silence, shape ``(T,)``.

    Returns:
        Transition-ids, shape ``(T,)``, int32.

    Raises:
        AlignmentError: there are fewer frames than states, or the states cannot take so many.
    """
    num_frames = len(scores)
    if num_frames < len(chain.states):
        raise AlignmentError("there are fewer frames than its transcript needs")
    num_speech = int((~chain.silent).sum())
    num_heard = float(np.clip((1 / (1 + np.exp(-scores))).sum(), num_speech, num_frames))
    units, mean_length = _units(chain), num_heard / max(num_speech, 1)
    size = 1
    while _num_pairs(units, num_frames, mean_length, size) > _MAX_PAIRS:
        size *= 2
    while (parts := _share_blocks(chain, units, scores, mean_length, size)) is None:
        if size == 1:
            raise AlignmentError("its graph has no self-loop to stretch")
        size //= 2
    pieces = [states.spread(end - begin) for states, begin, end in parts if begin < end]
    return np.concatenate(pieces).astype(np.int32) if pieces else np.zeros(0, dtype=np.int32)


def _share_blocks(
    chain: StateChain, units: list[_Unit], scores: np.ndarray, mean_length: float, size: int
) -> list[tuple[StateRow, int, int]] | None:
    """States with the frames where they begin and end, each at a block of ``size`` frames; None: no room."""
    num_blocks = len(scores) // size
    bounds = np.append(np.arange(num_blocks) * size, len(scores))  # the last block may be longer
    totals = np.concatenate([[0.0], np.cumsum(scores)])[bounds]
    best = np.where(np.arange(num_blocks + 1) == 0, 0.0, -np.inf)
    steps: list[tuple[StateRow, np.ndarray]] = []  # in which block each part begins, by that where it ends
    for unit in units:
        best = _add_pause(best, chain.pauses.get(unit.begin), size, steps)
        states = chain.states[unit.begin : unit.end]
        costs = _length_costs(states, num_blocks, 0.0 if unit.silent else mean_length, len(units) == 1, size)
        gain = np.zeros(num_blocks + 1) if unit.silent else totals
        best, lengths = _add_unit(best, gain, costs, -(-len(states) // size))
        steps.append((states, np.arange(num_blocks + 1) - lengths))
    best = _add_pause(best, chain.pauses.get(len(chain.states)), size, steps)
    if not np.isfinite(best[num_blocks]):
        return None
    parts, end = [], num_blocks
    for states, begins in reversed(steps):
        begin = int(begins[end])
        parts.append((states, int(bounds[begin]), int(bounds[end])))
        end = begin
    return parts[::-1]


def _num_pairs(units: list[_Unit], num_frames: int, mean_length: float, size: int) -> float:
    """How many pairs of a block and a length the units have."""
    alone = len(units) == 1
    lengths = [
        _longest(unit.end - unit.begin, num_frames, 0.0 if unit.silent else mean_length, alone)
        for unit in units
    ]
    return float(sum(lengths)) * num_frames / size**2


def _units(chain: StateChain) -> list[_Unit]:
    num_states = len(chain.states)
    changes = np.flatnonzero(chain.silent[1:] != chain.silent[:-1]) + 1
    cuts = sorted({0, num_states, *chain.pauses, *changes.tolist()})
    return [_Unit(begin, end, bool(chain.silent[begin])) for begin, end in itertools.pairwise(cuts)]


def _longest(num_states: int, num_frames: int, mean_length: float, alone: bool) -> int:
    """The most frames of so many states; silence (mean length 0) and a word alone may have them all."""
    if alone or mean_length == 0:
        return num_frames
    return min(num_frames, int(np.ceil(_LONGEST * num_states * max(mean_length, 1.0))))


def _length_costs(
    states: StateRow, num_blocks: int, mean_length: float, alone: bool, size: int
) -> np.ndarray:
    """The costs of the fewest blocks and more in these states; silence (mean length 0) has none."""
    num_states = len(states)
    shortest = longest = -(-num_states // size)
    if states.loops.any():
        longest = -(-_longest(num_states, num_blocks * size, mean_length, alone) // size)
    lengths = np.arange(shortest, max(longest, shortest) + 1)
    if mean_length == 0:
        return np.zeros(len(lengths))
    ratio = lengths * size / (num_states * mean_length)
    return num_states * (ratio - 1 - np.log(ratio))


def _add_unit(
    best: np.ndarray, gain: np.ndarray, costs: np.ndarray, shortest: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores by the block where a unit ends, and how long it then is; both of shape ``(B + 1,)``.

    Args:
        best: scores of all before by the block where it ends, shape ``(B + 1,)``.
        gain: scores of all blocks before each, as if they were the unit's, shape ``(B + 1,)``.
        costs: the costs of ``shortest`` and more blocks.
        shortest: the fewest blocks.
    """
    longest = shortest + len(costs) - 1
    padded = np.concatenate([np.full(longest, -np.inf), best - gain])
    # Row t holds what ended `longest` to `shortest` blocks before t.
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(costs))[: len(best)]
    chosen = np.zeros(len(best), dtype=np.int64)
    scores = np.zeros(len(best))
    rows = max(1, _PAIRS_AT_ONCE // len(costs))
    for begin in range(0, len(best), rows):
        part = windows[begin : begin + rows] - costs[::-1]
        best_of = part.argmax(axis=1)
        chosen[begin : begin + rows] = best_of
        scores[begin : begin + rows] = part[np.arange(len(part)), best_of]
    return gain + scores, longest - chosen


def _add_pause(
    best: np.ndarray, pause: StateRow | None, size: int, steps: list[tuple[StateRow, np.ndarray]]
) -> np.ndarray:
    """Scores where a pause of any length or none may follow; what is chosen goes to ``steps``."""
    if pause is None:
        return best
    blocks = np.arange(len(best))
    with_pause = np.full(len(best), -np.inf)
    shortest = -(-len(pause) // size)
    if shortest < len(best):
        with_pause[shortest:] = best[: len(best) - shortest] - _COST_OF_PAUSE
    highest = np.maximum.accumulate(with_pause)
    begins = np.maximum.accumulate(np.where(with_pause == highest, blocks, 0)) - shortest
    steps.append((pause, np.where(highest > best, begins, blocks)))
    return np.maximum(best, highest)
