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

from dkt.hmm.speech_activity import split
from dkt.hmm.state_chain import StateChain, StateRow
from dkt.hmm.viterbi import AlignmentError

_LONGEST = 4.0  # times its share of the speech: no word is longer, unless it is the only one
_COST_OF_PAUSE = 2.0  # nats


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
    times the utterance's speech frames a state, which is the least where all last equally long.

    Args:
        chain: the states of the transcript.
        scores: log-likelihood ratio of speech to silence, shape ``(T,)``.

    Returns:
        Transition-ids, shape ``(T,)``, int32.

    Raises:
        AlignmentError: there are fewer frames than states, or the states cannot take so many.
    """
    num_frames, num_states = len(scores), len(chain.states)
    if num_frames < num_states:
        raise AlignmentError("there are fewer frames than its transcript needs")
    units = _units(chain)
    num_speech = int((~chain.silent).sum())
    num_heard = float(np.clip((1 / (1 + np.exp(-scores))).sum(), num_speech, num_frames))
    mean_length = num_heard / max(num_speech, 1)
    totals = np.concatenate([[0.0], np.cumsum(scores)])
    best = np.where(np.arange(num_frames + 1) == 0, 0.0, -np.inf)
    steps: list[tuple[StateRow, np.ndarray]] = []  # where each part begins, by the frame where it ends
    for unit in units:
        best = _add_pause(best, chain.pauses.get(unit.begin), steps)
        states = chain.states[unit.begin : unit.end]
        costs = _length_costs(states, num_frames, 0.0 if unit.silent else mean_length, len(units) == 1)
        gain = np.zeros(num_frames + 1) if unit.silent else totals
        best, lengths = _add_unit(best, gain, costs, len(states))
        steps.append((states, np.arange(num_frames + 1) - lengths))
    best = _add_pause(best, chain.pauses.get(num_states), steps)
    if not np.isfinite(best[num_frames]):
        raise AlignmentError("its graph has no self-loop to stretch")
    pieces, end = [], num_frames
    for states, begins in reversed(steps):
        begin = int(begins[end])
        if begin < end:
            pieces.append(states.spread(end - begin))
        end = begin
    return np.concatenate(pieces[::-1]).astype(np.int32) if pieces else np.zeros(0, dtype=np.int32)


def _units(chain: StateChain) -> list[_Unit]:
    num_states = len(chain.states)
    changes = np.flatnonzero(chain.silent[1:] != chain.silent[:-1]) + 1
    cuts = sorted({0, num_states, *chain.pauses, *changes.tolist()})
    return [_Unit(begin, end, bool(chain.silent[begin])) for begin, end in itertools.pairwise(cuts)]


def _length_costs(states: StateRow, num_frames: int, mean_length: float, alone: bool) -> np.ndarray:
    """The costs of ``len(states)`` and more frames in these states; silence (mean length 0) has none."""
    shortest = longest = len(states)
    if states.loops.any():
        usual = int(np.ceil(_LONGEST * shortest * max(mean_length, 1.0)))
        longest = num_frames if alone or mean_length == 0 else min(num_frames, usual)
    lengths = np.arange(shortest, max(longest, shortest) + 1)
    if mean_length == 0:
        return np.zeros(len(lengths))
    ratio = lengths / (shortest * mean_length)
    return shortest * (ratio - 1 - np.log(ratio))


def _add_unit(
    best: np.ndarray, gain: np.ndarray, costs: np.ndarray, shortest: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores by the frame where a unit ends, and how long it then is; both of shape ``(T + 1,)``.

    Args:
        best: scores of all before by the frame where it ends, shape ``(T + 1,)``.
        gain: scores of all frames before each, as if they were the unit's, shape ``(T + 1,)``.
        costs: the costs of ``shortest`` and more frames.
        shortest: the fewest frames.
    """
    longest = shortest + len(costs) - 1
    padded = np.concatenate([np.full(longest, -np.inf), best - gain])
    # Row t holds what ended `longest` to `shortest` frames before t.
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(costs))[: len(best)]
    scores = windows - costs[::-1]
    chosen = scores.argmax(axis=1)
    return gain + scores[np.arange(len(best)), chosen], longest - chosen


def _add_pause(
    best: np.ndarray, pause: StateRow | None, steps: list[tuple[StateRow, np.ndarray]]
) -> np.ndarray:
    """Scores where a pause of any length or none may follow; what is chosen goes to ``steps``."""
    if pause is None:
        return best
    frames = np.arange(len(best))
    with_pause = np.full(len(best), -np.inf)
    if len(pause) < len(best):
        with_pause[len(pause) :] = best[: len(best) - len(pause)] - _COST_OF_PAUSE
    highest = np.maximum.accumulate(with_pause)
    begins = np.maximum.accumulate(np.where(with_pause == highest, frames, 0)) - len(pause)
    steps.append((pause, np.where(highest > best, begins, frames)))
    return np.maximum(best, highest)
