"""Alignments as paths through HMMs: where phones end, and whether transition-ids can follow one another.

A visit to an HMM state is one arc out of it and any number of self-loops: in front of that arc or, in graphs
made with Kaldi's ``--reorder=true``, behind it.
"""

from __future__ import annotations

import numpy as np

from dkt.base.errors import DktError
from dkt.hmm.topology import NO_PDF
from dkt.hmm.transition_model import TransitionModel


def _is_reordered(model: TransitionModel, ids: np.ndarray) -> bool:
    """Whether self-loops stand behind the arc out of their state (``IsReordered``)."""
    states, loops = model.id2state[ids], model.is_self_loop[ids]
    changes = np.flatnonzero((states[:-1] != states[1:]) & (loops[:-1] | loops[1:]))
    if not len(changes):
        return bool(loops[-1] and not loops[0])
    first = changes[0]
    if loops[first] and loops[first + 1]:
        raise DktError(f"frames {first} and {first + 1} are self-loops of different states")
    return bool(loops[first])


def phone_ends(model: TransitionModel, ids: np.ndarray) -> np.ndarray:
    """Where the phones of an alignment end (``SplitToPhones`` in Kaldi's ``hmm-utils.cc``).

    Args:
        model: the model that made the alignment.
        ids: transition-ids of this model, shape ``(T,)``.

    Returns:
        For each phone the frame behind its last, int64, ascending; the last one is T.

    Raises:
        DktError: a self-loop follows the arc out of another state.
    """
    if not len(ids):
        return np.zeros(0, dtype=np.int64)
    finals = np.flatnonzero(model.is_final[ids])
    if _is_reordered(model, ids):
        # A phone that was left goes on through the self-loops behind.
        others = np.append(np.flatnonzero(~model.is_self_loop[ids]), len(ids))
        ends = others[np.searchsorted(others, finals, side="right")]
        within = np.repeat(finals, ends - finals)
        behind = finals.repeat(ends - finals) + _count_up(ends - finals)
        wrong = np.flatnonzero(model.id2state[ids[behind]] != model.id2state[ids[within]])
        if len(wrong):
            raise DktError(f"frame {behind[wrong[0]]} is a self-loop of another state than the one before")
    else:
        ends = finals + 1
    phones = model.id2phone[ids]
    return np.unique(np.concatenate([ends, np.flatnonzero(phones[:-1] != phones[1:]) + 1, [len(ids)]]))


def _count_up(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ... up to each length, end to end."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def phones_and_lengths(model: TransitionModel, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The phones of an alignment and how many frames each has, both of shape ``(number of phones,)``.

    Args:
        model: the model that made the alignment.
        ids: transition-ids of this model, shape ``(T,)``.

    Raises:
        DktError: as ``phone_ends``.
    """
    ends = phone_ends(model, ids)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends])[:-1]
    return model.id2phone[ids[starts]].astype(np.int32), (ends - starts).astype(np.int32)


class PathChecker:
    """Tells an alignment of another model or topology whose transition-ids happen to lie in range.

    Args:
        model: the model that should have made the alignments.
    """

    def __init__(self, model: TransitionModel) -> None:
        self._model = model
        arcs = [
            model.topology.states(phone)[state].transitions for phone, state, _, _ in model.tuples.tolist()
        ]
        self._destination = np.array([-1, *(d for state in arcs for d, _ in state)], dtype=np.int32)
        # Through a state without pdf an arc leads on to several others, too rare a topology to follow here.
        self._plain = all(s.forward_pdf_class != NO_PDF for e in model.topology.entries for s in e[:-1])

    def first_break(self, ids: np.ndarray) -> int | None:
        """The first frame whose transition-id cannot follow the ones before; None if there is none.

        An alignment may begin and end within a phone.

        Args:
            ids: transition-ids of the model, shape ``(T,)``.
        """
        if not self._plain or not len(ids):
            return None
        model = self._model
        states, loops = model.id2state[ids], model.is_self_loop[ids]
        frames = np.flatnonzero(~loops)
        before, after = ids[frames[:-1]], ids[frames[1:]]
        same_phone = model.id2phone[before] == model.id2phone[after]
        target = np.where(model.is_final[before], 0, self._destination[before])
        good = (model.is_final[before] | same_phone) & (model.id2hmm_state[after] == target)
        wrong = frames[1:][~good]
        changes = states[:-1] != states[1:]
        behind, ahead = np.flatnonzero(changes & loops[1:]) + 1, np.flatnonzero(changes & loops[:-1]) + 1
        if len(behind) and len(ahead):
            # Self-loops follow the arcs out of their states or precede them, not both in one alignment.
            wrong = np.append(wrong, max(behind[0], ahead[0]))
        return int(wrong.min()) if len(wrong) else None
