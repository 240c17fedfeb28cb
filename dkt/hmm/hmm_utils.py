"""From phones in context to transition-ids: the H of HCLG, and self-loops (Kaldi's ``hmm-utils.cc``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dkt.base.errors import DktError
from dkt.fstext.fst import ARC, FstArrays
from dkt.hmm.topology import NO_PDF
from dkt.hmm.transition_model import TransitionModel
from dkt.hmm.tree import ContextDependency

#: What a label on the input side of C stands for: a window of phones, ``[-d]`` the disambiguation symbol d,
#: ``[0]`` the symbol for the missing left context, ``[]`` epsilon (``compose_context`` returns them).
IlabelInfo = Sequence[Sequence[int]]

_Arc = tuple[int, int, int, float, int]  # source, ilabel, olabel, cost, nextstate


class HmmTransducerBuilder:
    """Builds H, which has one loop from its start for every phone in context: its HMM without self-loops.

    HMMs are kept, so that building H for one utterance after another costs little.

    Args:
        tree: the decision tree.
        transitions: the transition model of the same system.
        transition_scale: factor on the log-probabilities of the arcs that leave a state.
    """

    def __init__(
        self, tree: ContextDependency, transitions: TransitionModel, transition_scale: float = 1.0
    ) -> None:
        self.tree = tree
        self.transitions = transitions
        self._costs = -transition_scale * log_probs_ignoring_self_loops(transitions)
        self._scale = transition_scale
        topology = transitions.topology
        self._num_pdf_classes = {phone: topology.num_pdf_classes(phone) for phone in topology.phones}
        self._state_of = {tuple(row): 1 + i for i, row in enumerate(transitions.tuples.tolist())}
        self._hmms: dict[tuple[int, ...], list[_Arc]] = {}
        self._windows: dict[tuple[int, ...], tuple[int, ...]] = {}

    def build(self, ilabel_info: IlabelInfo) -> tuple[FstArrays, list[int]]:
        """H for the labels of one C (``GetHTransducer``).

        Args:
            ilabel_info: what each output label of H stands for; label 0 is epsilon.

        Returns:
            H, sorted on output labels, and the input labels that stand for disambiguation symbols: the first
            ones above the transition-ids.

        Raises:
            DktError: the tree, the model and the labels do not fit together.
        """
        arcs: list[_Arc] = []
        num_states = 1
        entry: dict[tuple[int, ...], tuple[int, float, int]] = {}
        disambig: list[int] = []
        for olabel, window in enumerate(ilabel_info):
            if len(window) == 0:
                continue
            if len(window) == 1 and window[0] <= 0:
                disambig.append(self.transitions.num_transition_ids + 1 + len(disambig))
                arcs.append((0, disambig[-1], olabel, 0.0, num_states))
                arcs.append((num_states, 0, 0, 0.0, 0))
                num_states += 1
                continue
            hmm = self._hmm_of(tuple(window))
            if hmm not in entry:
                entry[hmm], new_arcs, num_states = _place_hmm(self._hmms[hmm], num_states)
                arcs += new_arcs
            ilabel, cost, nextstate = entry[hmm]
            arcs.append((0, ilabel, olabel, cost, nextstate))
        return _as_fst(arcs, num_states), disambig

    def _hmm_of(self, window: tuple[int, ...]) -> tuple[int, ...]:
        """The phone and its pdfs, which name an HMM; many windows share one."""
        if window not in self._windows:
            phone = window[self.tree.central_position] if len(window) == self.tree.context_width else 0
            if phone not in self._num_pdf_classes:
                raise DktError(
                    f"phones {list(window)} of the graph are not of this model",
                    hint="use the tree, the model and the lang directory of one system",
                )
            classes = range(self._num_pdf_classes[phone])
            hmm = (phone, *(self.tree.pdf(window, pdf_class) for pdf_class in classes))
            if hmm not in self._hmms:
                self._hmms[hmm] = self._hmm_arcs(phone, hmm[1:])
            self._windows[window] = hmm
        return self._windows[window]

    def _hmm_arcs(self, phone: int, pdfs: tuple[int, ...]) -> list[_Arc]:
        """The arcs of one HMM but for its self-loops, from state 0 to the last (``GetHmmAsFsa``)."""
        arcs: list[_Arc] = []
        states = self.transitions.topology.states(phone)
        for number, state in enumerate(states):
            for index, (destination, probability) in enumerate(state.transitions):
                if destination == number:
                    continue
                if state.forward_pdf_class == NO_PDF:
                    cost = -self._scale * float(np.log(probability))
                    arcs.append((number, 0, 0, cost, destination))
                    continue
                pdf, loop_pdf = pdfs[state.forward_pdf_class], pdfs[state.self_loop_pdf_class]
                tid = self._first_id(phone, number, pdf, loop_pdf) + index
                arcs.append((number, tid, 0, float(self._costs[tid]), destination))
        return arcs

    def _first_id(self, phone: int, number: int, pdf: int, loop_pdf: int) -> int:
        state = self._state_of.get((phone, number, pdf, loop_pdf))
        if state is None:
            raise DktError(
                f"the model has no transition-state for phone {phone}, state {number}, pdf {pdf}",
                path=self.tree.path,
                hint="the tree and the model are not of one system",
            )
        return int(self.transitions.state2id[state])


def _place_hmm(hmm: list[_Arc], num_states: int) -> tuple[tuple[int, float, int], list[_Arc], int]:
    """Number an HMM's states from ``num_states`` on and lead its end back to state 0.

    Returns:
        How to enter it from state 0 (input label, cost, next state), its other arcs, and the new number of
        states.
    """
    last = max(arc[4] for arc in hmm)
    first_arcs = [arc for arc in hmm if arc[0] == 0]
    # A single first arc can leave from state 0 itself, unless the HMM comes back to its first state.
    share_start = len(first_arcs) == 1 and all(arc[4] != 0 for arc in hmm)
    shift = num_states - 1 if share_start else num_states
    inner = [arc for arc in hmm if not (share_start and arc[0] == 0)]
    arcs = [(source + shift, ilabel, 0, cost, dest + shift) for source, ilabel, _, cost, dest in inner]
    arcs.append((last + shift, 0, 0, 0.0, 0))
    if share_start:
        _, ilabel, _, cost, dest = first_arcs[0]
        return (ilabel, cost, dest + shift), arcs, last + shift + 1
    return (0, 0.0, shift), arcs, last + shift + 1


def _as_fst(arcs: list[_Arc], num_states: int) -> FstArrays:
    table = np.empty(len(arcs), dtype=ARC)
    columns = list(zip(*arcs, strict=True)) or [()] * 5
    for name, values in zip(("ilabel", "olabel", "weight", "nextstate"), columns[1:], strict=True):
        table[name] = values
    final = np.full(num_states, np.inf)
    final[0] = 0.0
    return FstArrays.from_arcs(0, final, columns[0], table)


def log_probs_ignoring_self_loops(transitions: TransitionModel) -> np.ndarray:
    """Log-probability of each arc given that its state is left, shape ``(num_transition_ids + 1,)``.

    0 for self-loops and at index 0 (``TransitionModel::GetTransitionLogProbIgnoringSelfLoops``).
    """
    _, rest = transitions.self_loop_log_probs()
    return np.where(
        transitions.is_self_loop, 0.0, transitions.log_probs.astype(np.float64) - rest[transitions.id2state]
    )


def self_loops_of_states(transitions: TransitionModel) -> np.ndarray:
    """The self-loop of each transition-state or 0, shape ``(num_transition_states + 1,)``."""
    loops = np.zeros(transitions.num_transition_states + 1, dtype=np.int64)
    ids = np.flatnonzero(transitions.is_self_loop)
    loops[transitions.id2state[ids]] = ids
    return loops


def add_self_loops(fst: FstArrays, transitions: TransitionModel, self_loop_scale: float) -> FstArrays:
    """A graph of transition-ids with self-loops, each after the forward arc (``AddSelfLoops``, reordered).

    A state whose entering arcs belong to different HMM states is split first. The self-loop then stands at
    the state that the forward arc enters, so in an alignment forward comes before self-loop.

    Args:
        fst: input labels are transition-ids that are not self-loops, or 0.
        transitions: the transition model.
        self_loop_scale: factor on the log-probabilities of self-loops and of leaving.

    Raises:
        DktError: a label is not a transition-id or a self-loop.
    """
    ids = fst.arcs["ilabel"]
    if ids.max(initial=0) > transitions.num_transition_ids or transitions.is_self_loop[ids].any():
        raise DktError("the graph has labels that are not transition-ids, or has self-loops already")
    fst = _split_by_entering_state(fst, transitions.id2state)
    entering = np.zeros(fst.num_states, dtype=np.int64)
    entering[fst.arcs["nextstate"]] = transitions.id2state[fst.arcs["ilabel"]]

    loop, rest = (self_loop_scale * p for p in _finite_self_loop_log_probs(transitions))
    leaving_cost = np.where(entering > 0, -rest[entering], 0.0).astype(np.float32)
    sources = fst.sources
    arcs = fst.arcs.copy()
    arcs["weight"] += leaving_cost[sources]

    loop_ids = self_loops_of_states(transitions)[entering]
    places = np.flatnonzero(loop_ids)
    loops = np.zeros(len(places), dtype=ARC)
    loops["ilabel"], loops["nextstate"] = loop_ids[places], places
    loops["weight"] = -loop[entering[places]]
    return FstArrays.from_arcs(
        fst.start, fst.final + leaving_cost, np.concatenate([sources, places]), np.concatenate([arcs, loops])
    )


def _finite_self_loop_log_probs(transitions: TransitionModel) -> tuple[np.ndarray, np.ndarray]:
    # States without self-loop have log-probability -inf, and -inf times a scale of 0 is not a number.
    loop, rest = transitions.self_loop_log_probs()
    return np.where(np.isfinite(loop), loop, 0.0), rest


def _split_by_entering_state(fst: FstArrays, id2state: np.ndarray) -> FstArrays:
    """Give each state entering arcs of one transition-state only (``MakePrecedingInputSymbolsSameClass``).

    Where a state has several, each kind but epsilon enters a state of its own, with an epsilon arc on to the
    old one. The start counts as entered by epsilon.
    """
    ids, nextstate = fst.arcs["ilabel"], fst.arcs["nextstate"].astype(np.int64)
    kinds = id2state[ids].astype(np.int64)
    low = np.full(fst.num_states, np.iinfo(np.int64).max)
    high = np.full(fst.num_states, -1)
    low[fst.start] = high[fst.start] = 0
    np.minimum.at(low, nextstate, kinds)
    np.maximum.at(high, nextstate, kinds)
    places = np.flatnonzero((low < high)[nextstate] & (ids != 0))
    if len(places) == 0:
        return fst
    pairs = nextstate[places] * (len(id2state) + 1) + kinds[places]
    _, first, inverse = np.unique(pairs, return_index=True, return_inverse=True)
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(first)] = np.arange(len(first))  # numbered as they are met, as Kaldi does

    arcs = fst.arcs.copy()
    arcs["nextstate"][places] = fst.num_states + order[inverse]
    bridges = np.zeros(len(first), dtype=ARC)
    bridges["nextstate"][order] = nextstate[places[first]]
    sources = np.concatenate([fst.sources, fst.num_states + np.arange(len(first))])
    final = np.concatenate([fst.final, np.full(len(first), np.inf, dtype=np.float32)])
    return FstArrays.from_arcs(fst.start, final, sources, np.concatenate([arcs, bridges]))
