"""The states of a transcript in a row, and evenly shared frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dkt.decoder.state_chain import StateRow, state_chain
from dkt.decoder.training_graph import TrainingGraphCompiler
from dkt.decoder.viterbi import AlignmentError
from dkt.fstext.fst import FstArrays
from dkt.hmm.tree import monophone_transition_model, monophone_tree
from tests.decoder.test_viterbi import A_LOOP, A_OUT, B_LOOP, B_OUT, C_LOOP, C_OUT, make_fst
from tests.tiny_lang import WORDS, tiny_topology, write_tiny_lang

IS_B = np.isin(np.arange(7), [B_LOOP, B_OUT])


def optional_b() -> FstArrays:
    """[B] A [B] C [B]."""
    arcs = []
    for state in (0, 3, 6):
        arcs += [(state, 0, state + 2), (state, B_OUT, state + 1), (state + 1, B_LOOP, state + 1)]
        arcs += [(state + 1, 0, state + 2)]
    arcs += [(2, A_OUT, 3), (3, A_LOOP, 3), (5, C_OUT, 6), (6, C_LOOP, 6)]
    return make_fst(9, arcs)


def test_states_and_pauses() -> None:
    chain = state_chain(optional_b(), IS_B, "utt")
    assert chain.states.labels.tolist() == [A_OUT, C_OUT]
    assert chain.states.loops.tolist() == [A_LOOP, C_LOOP]
    assert not chain.silent.any()
    assert sorted(chain.pauses) == [0, 1, 2]
    for pause in chain.pauses.values():
        assert (pause.labels.tolist(), pause.loops.tolist()) == ([B_OUT], [B_LOOP])


def test_silence_that_the_transcript_demands() -> None:
    # A B C, no way around B.
    arcs = [(0, A_OUT, 1), (1, B_OUT, 2), (2, B_LOOP, 2), (2, C_OUT, 3), (3, C_LOOP, 3)]
    chain = state_chain(make_fst(4, arcs), IS_B, "utt")
    assert chain.states.labels.tolist() == [A_OUT, B_OUT, C_OUT]
    assert chain.silent.tolist() == [False, True, False]
    assert chain.pauses == {}


def test_each_of_several_shortest_paths_is_taken() -> None:
    # A or C, then B.
    fst = make_fst(4, [(0, A_OUT, 1), (0, C_OUT, 2), (1, B_OUT, 3), (2, B_OUT, 3), (3, B_LOOP, 3)])
    firsts = []
    for number in range(30):
        chain = state_chain(fst, np.zeros(7, dtype=bool), f"utt{number}")
        again = state_chain(fst, np.zeros(7, dtype=bool), f"utt{number}")
        assert chain.states.labels.tolist() == again.states.labels.tolist()
        firsts.append(chain.states.labels[0])
    assert {A_OUT, C_OUT} == set(firsts)
    assert 5 < firsts.count(A_OUT) < 25


def test_graph_without_a_path() -> None:
    with pytest.raises(AlignmentError, match="no path"):
        state_chain(make_fst(3, [(0, A_OUT, 1)]), IS_B, "utt")


def test_chain_of_a_real_graph(tmp_path: Path) -> None:
    write_tiny_lang(tmp_path / "lang")
    topology = tiny_topology()
    tree = monophone_tree([[1], [2], [3], [4]], topology)
    transitions = monophone_transition_model(tree, topology)
    compiler = TrainingGraphCompiler(tree, transitions, tmp_path / "lang")
    fst = compiler.compile([WORDS.index("YES"), WORDS.index("NO")])  # A B, C
    chain = state_chain(fst, transitions.id2phone == 1, "utt")
    assert transitions.id2phone[chain.states.labels].tolist() == [2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert sorted(chain.pauses) == [0, 6, 9]
    # Of the five states of silence the shortest way takes the first, one of three, and the last.
    middles = set()
    for number in range(20):
        for pause in state_chain(fst, transitions.id2phone == 1, f"utt{number}").pauses.values():
            states = transitions.id2pdf[pause.labels].tolist()
            assert len(states) == 3 and (states[0], states[2]) == (0, 4)
            middles.add(states[1])
            assert (transitions.id2state[pause.loops] == transitions.id2state[pause.labels]).all()
    assert middles == {1, 2, 3}
    assert np.isfinite(chain.graph_cost) and chain.graph_cost > 0
    silence = state_chain(compiler.compile([]), transitions.id2phone == 1, "utt")
    assert len(silence.states) == 0 and len(silence.pauses[0]) == 3


def test_frames_are_spread_evenly() -> None:
    row = StateRow(np.array([A_OUT, C_OUT], dtype=np.int32), np.array([A_LOOP, C_LOOP], dtype=np.int32))
    assert row.spread(9).tolist() == [A_OUT] + [A_LOOP] * 4 + [C_OUT] + [C_LOOP] * 3
    assert row.spread(2).tolist() == [A_OUT, C_OUT]
    with pytest.raises(AlignmentError, match="fewer frames"):
        row.spread(1)
    no_loops = StateRow(row.labels, np.zeros(2, dtype=np.int32))
    assert no_loops.spread(2).tolist() == [A_OUT, C_OUT]
    with pytest.raises(AlignmentError, match="no self-loop"):
        no_loops.spread(3)
    half = StateRow(row.labels, np.array([0, C_LOOP], dtype=np.int32))
    assert half.spread(4).tolist() == [A_OUT, C_OUT, C_LOOP, C_LOOP]
