"""Is an FST the decoding graph of a model? HCLG follows the HMMs of its model; L, G and their kin do not."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.base.grouping import expand
from dkt.fstext.fst import FstArrays, load_fst
from dkt.hmm.hmm_utils import self_loops_of_states
from dkt.hmm.topology import NO_PDF
from dkt.hmm.transition_model import TransitionModel
from dkt.util.specifiers import is_specifier

_HINT = (
    "give the HCLG.fst that mkgraph made with this final.mdl (L.fst, G.fst and the graphs on the way to HCLG "
    "are not searched)"
)
# Where a path is within the HMMs: between two phones, or not known yet. Others are phone and HMM state.
_BETWEEN, _UNKNOWN = 0, -1


def load_graph(
    path: str | Path, transitions: TransitionModel, words: Collection[int] | None = None
) -> FstArrays:
    """Read a decoding graph and see that it is one of this model.

    Args:
        path: a file, ``-`` or ``command |``; OpenFst's type vector or const, maybe compressed by gzip.
        transitions: of the model that is to search it.
        words: the integers of ``words.txt``; None where there is no table.

    Raises:
        DktError: as ``load_fst`` and ``check_decoding_graph``.
    """
    if is_specifier(str(path)):
        raise DktError(
            "a table of graphs, one per utterance, is not read", path=path, hint="give one HCLG.fst"
        )
    graph = load_fst(path)
    try:
        check_decoding_graph(graph, transitions, words)
    except DktError as error:
        raise DktError(str(error), path=path) from None
    return graph


def check_decoding_graph(
    graph: FstArrays, transitions: TransitionModel, words: Collection[int] | None = None
) -> None:
    """Raise DktError unless a graph can be an HCLG of the model.

    Composition, determinisation and minimisation keep the sequences of transition-ids that H allows, so in
    every HCLG the next transition leaves the HMM state that the last one entered, a phone begins in its
    first state, and what is final lies between two phones. ``AddSelfLoops`` (``hmm/hmm-utils.cc``) gives
    each state the self-loop of the HMM state that all arcs into it have left or, not reordered, all arcs out
    of it leave.

    Args:
        graph: transition-ids on the input, words on the output.
        transitions: the transition model.
        words: integers that the output may have beside 0; None for any.
    """
    _check_ends(graph)
    _check_labels(graph, transitions)
    _check_sequence(graph, transitions)
    _check_self_loops(graph, transitions)
    if words is not None:
        _check_words(graph, words)


def _check_ends(graph: FstArrays) -> None:
    if graph.start < 0 or graph.num_states == 0:
        raise DktError("the graph is empty", hint=_HINT)
    if not np.isfinite(graph.final).any():
        raise DktError("the graph has no final state, so no utterance can end", hint=_HINT)


def _check_labels(graph: FstArrays, transitions: TransitionModel) -> None:
    labels = graph.arcs["ilabel"]
    if not labels.any():
        raise DktError("no arc of the graph has an input label: it takes no frame", hint=_HINT)
    largest = int(labels.max())
    if largest > transitions.num_transition_ids:
        raise DktError(
            f"the graph has input label {largest}, but the model only {transitions.num_transition_ids} "
            "transition-ids: it is of another model, or no HCLG, or disambiguation symbols are left in it",
            hint=_HINT,
        )


def _check_sequence(graph: FstArrays, transitions: TransitionModel) -> None:
    topology = transitions.topology
    if any(s.forward_pdf_class == NO_PDF for states in topology.entries for s in states[:-1]):
        return  # a state without a pdf leaves no label: what is next to what cannot be told
    leaves, enters = _places(transitions)
    labels, sources = graph.arcs["ilabel"], graph.sources
    moves = (labels != 0) & ~transitions.is_self_loop[labels]
    place = np.full(graph.num_states, _UNKNOWN, dtype=np.int32)
    targets = graph.arcs["nextstate"]
    # Of several arcs into a state one decides; the others are compared with it.
    place[targets[moves]] = enters[labels[moves]]
    place[graph.start] = _BETWEEN
    _spread(graph, place)

    has_way = np.isfinite(graph.final)
    has_way[sources[sources != targets]] = True
    wrong = moves & (place[targets] != enters[labels]) & has_way[targets]
    wrong |= moves & (place[sources] != leaves[labels]) & (place[sources] != _UNKNOWN)
    silent = labels == 0
    wrong |= silent & (place[sources] != place[targets]) & (place[sources] != _UNKNOWN) & has_way[targets]
    if wrong.any():
        arc = int(np.flatnonzero(wrong)[0])
        raise DktError(
            f"the graph is not an HCLG of this model: input label {labels[arc]} on an arc from state "
            f"{sources[arc]} to {targets[arc]} {_meaning(transitions, int(labels[arc]))} does not go with "
            "the arcs beside it",
            hint=_HINT,
        )
    ends = np.flatnonzero(np.isfinite(graph.final) & (place > _BETWEEN))
    if len(ends):
        raise DktError(
            f"the graph is not an HCLG of this model: its final state {ends[0]} lies within a phone",
            hint=_HINT,
        )


def _places(transitions: TransitionModel) -> tuple[np.ndarray, np.ndarray]:
    """Where each transition-id leaves and where it enters, each of shape ``(num_transition_ids + 1,)``.

    The first state of a phone counts as the place between phones: it may be entered from there.
    """
    leaves = np.zeros(transitions.num_transition_ids + 1, dtype=np.int32)
    enters = leaves.copy()
    topology = transitions.topology
    most = 1 + max(len(states) for states in topology.entries)
    for tid in range(1, transitions.num_transition_ids + 1):
        phone, state = int(transitions.id2phone[tid]), int(transitions.id2hmm_state[tid])
        index = tid - int(transitions.state2id[transitions.id2state[tid]])
        target = topology.states(phone)[state].transitions[index][0]
        leaves[tid] = phone * most + state if state else _BETWEEN
        if not transitions.is_final[tid] and target:
            enters[tid] = phone * most + target
    return leaves, enters


def _spread(graph: FstArrays, place: np.ndarray) -> None:
    """Carry places over arcs without a label, in place, each state being visited once."""
    silent = graph.arcs["ilabel"] == 0
    counted = np.concatenate([[0], np.cumsum(silent)])
    offsets, targets = counted[graph.offsets], graph.arcs["nextstate"][silent]
    reached = np.flatnonzero(place != _UNKNOWN)
    while len(reached):
        where, arcs = expand(offsets[reached], offsets[reached + 1])
        new = place[targets[arcs]] == _UNKNOWN
        states, first = np.unique(targets[arcs][new], return_index=True)
        place[states] = place[reached[where[new][first]]]
        reached = states


def _meaning(transitions: TransitionModel, label: int) -> str:
    if label == 0:
        return "(no transition)"
    return f"(phone {transitions.id2phone[label]}, HMM state {transitions.id2hmm_state[label]})"


def _check_self_loops(graph: FstArrays, transitions: TransitionModel) -> None:
    labels, sources, targets = graph.arcs["ilabel"], graph.sources, graph.arcs["nextstate"]
    emits = labels != 0
    kinds = transitions.id2state[labels]
    loops = emits & transitions.is_self_loop[labels]
    loop_of = self_loops_of_states(transitions)
    needed = emits & ~loops & (loop_of[kinds] != 0)
    if needed.any() and not loops.any():
        raise DktError(
            "the graph has no self-loops: it is the HCLGa.fst of mkgraph.sh, or no HCLG",
            hint="run add-self-loops, or give the HCLG.fst that mkgraph made with this final.mdl",
        )
    # One kind of HMM state on all the arcs with a frame into each state, and out of it.
    into = _only_kind(targets[emits], kinds[emits], graph.num_states)
    out = _only_kind(sources[emits], kinds[emits], graph.num_states)
    wrong = loops & ((sources != targets) | ((into[targets] != kinds) & (out[targets] != kinds)))
    # Whoever was in a state with a self-loop could stay there: where it is entered or, not reordered, left.
    loop_at = np.zeros(graph.num_states, dtype=np.int32)
    loop_at[targets[loops]] = kinds[loops]
    wrong |= needed & (loop_at[targets] != kinds) & (loop_at[sources] != kinds)
    if wrong.any():
        arc = int(np.flatnonzero(wrong)[0])
        raise DktError(
            f"the graph is not an HCLG of this model: the self-loop of input label {labels[arc]} "
            f"{_meaning(transitions, int(labels[arc]))} is not where it belongs, at state {targets[arc]}",
            hint=_HINT,
        )


def _only_kind(states: np.ndarray, kinds: np.ndarray, num_states: int) -> np.ndarray:
    """The kind of the arcs at each state, 0 where there is none or there are several; shape ``(S,)``."""
    last = np.zeros(num_states, dtype=np.int32)
    last[states] = kinds
    mixed = states[last[states] != kinds]
    last[mixed] = 0
    return last


def _check_words(graph: FstArrays, words: Collection[int]) -> None:
    found = np.unique(graph.arcs["olabel"])
    known = np.fromiter(words, dtype=np.int64, count=len(words))
    missing = found[(found != 0) & ~np.isin(found, known)]
    if len(missing):
        raise DktError(
            f"{len(missing)} of the graph's {len(found)} output labels are not in words.txt, the first "
            f"{missing[0]}",
            hint="use the words.txt of the graph",
        )
