"""Where phones end in an alignment, and whether its transition-ids can follow one another."""

from __future__ import annotations

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.hmm.phone_segments import PathChecker, phone_ends, phones_and_lengths
from dkt.hmm.topology import HmmState, HmmTopology
from dkt.hmm.transition_model import TransitionModel, initial_tuples
from dkt.hmm.tree import monophone_transition_model, monophone_tree
from tests.hmm.test_transitions import two_phone_model
from tests.tiny_lang import tiny_topology


@pytest.fixture(scope="module")
def model():
    """Five states for silence, phone 1, with arcs to and fro; three in a row for phones 2 to 4."""
    topology = tiny_topology()
    return monophone_transition_model(monophone_tree([[1], [2], [3], [4]], topology), topology)


def random_path(model, rng, reordered: bool, num_phones: int = 6) -> tuple[list[int], list[int], list[int]]:
    """Transition-ids of a walk through the HMMs, the phones and their numbers of frames."""
    ids, lengths = [], []
    phones = rng.integers(1, 5, num_phones).tolist()
    for phone in phones:
        begin, state = len(ids), 0
        while state < len(model.topology.states(phone)) - 1:
            arcs = np.flatnonzero((model.id2phone == phone) & (model.id2hmm_state == state))
            loop = [int(i) for i in arcs if model.is_self_loop[i]] * int(rng.integers(0, 4))
            way_out = int(rng.choice(arcs[~model.is_self_loop[arcs]]))
            ids += [way_out, *loop] if reordered else [*loop, way_out]
            arc = way_out - model.state2id[model.id2state[way_out]]
            state = model.topology.states(phone)[state].transitions[arc][0]
        lengths.append(len(ids) - begin)
    return ids, phones, lengths


@pytest.mark.parametrize("reordered", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_phones_of_a_walk_through_the_hmms(model, seed, reordered):
    ids, phones, lengths = random_path(model, np.random.default_rng(seed), reordered)
    found = phones_and_lengths(model, np.array(ids))
    assert (found[0].tolist(), found[1].tolist()) == (phones, lengths)
    checker = PathChecker(model)
    assert checker.first_break(np.array(ids)) is None
    # Any piece of an alignment is fine too: utterances are cut out of longer ones.
    for first in range(0, len(ids), 3):
        assert checker.first_break(np.array(ids[first : first + 7])) is None


@pytest.mark.parametrize("reordered", [True, False])
def test_a_wrong_frame_in_a_walk_is_found(model, reordered):
    checker = PathChecker(model)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        ids, *_ = random_path(model, rng, reordered)
        frame = int(rng.integers(2, len(ids) - 2))
        # A self-loop of a state that is visited neither before nor after.
        strange = [
            i for i in np.flatnonzero(model.is_self_loop) if model.id2phone[i] not in model.id2phone[ids]
        ]
        if not strange:
            continue
        ids[frame] = int(strange[0])
        found = checker.first_break(np.array(ids))
        assert found is not None and abs(found - frame) <= 1, (seed, frame, found)


@pytest.mark.parametrize(
    ("ids", "frame"),
    [
        ([3, 4, 6, 2], None),
        ([4, 3, 6, 5, 5, 2], None),
        ([1, 1, 2, 3, 4, 5], None),
        ([], None),
        ([6, 6], 1),  # the second visit begins in the middle of the phone
        ([4, 2, 4], 1),  # another phone, though this one is not at its end
        ([2, 4, 4], 2),  # the first state again, where the second should come
        ([4, 6, 3, 4], None),  # self-loops in front, not taken the first time
        ([4, 3, 6, 2, 5, 6], 4),  # self-loops behind, then in front
        ([2, 3, 4, 6, 5, 2], 5),  # self-loops in front, then behind
    ],
)
def test_what_can_follow_what(ids, frame):
    assert PathChecker(two_phone_model()).first_break(np.array(ids, dtype=np.int32)) == frame


def test_states_without_pdf_are_not_followed():
    """An arc leads through them to a state that it does not name."""
    skip = [
        HmmState(0, 0, [(0, 0.5), (1, 0.5)]),
        HmmState(-1, -1, [(2, 1.0)]),
        HmmState(1, 1, [(2, 0.5), (3, 0.5)]),
    ]
    topology = HmmTopology([[*skip, HmmState()]], {1: 0})
    model = TransitionModel(topology, initial_tuples(topology, {(1, 0): 0, (1, 1): 1}))
    assert PathChecker(model).first_break(np.array([1, 2, 3, 4])) is None


def test_a_phone_goes_on_in_itself_only(model):
    """Phones of one topology differ in nothing but their number."""
    first, second = (np.flatnonzero((model.id2phone == phone) & ~model.is_self_loop) for phone in (2, 3))
    checker = PathChecker(model)
    assert checker.first_break(np.concatenate([first, second])) is None
    assert checker.first_break(np.array([first[0], second[1], second[2]])) == 1


@pytest.mark.parametrize("ids", [[4, 3, 6, 5, 2, 5], [1, 3, 2]])
def test_self_loops_of_another_state_split_into_no_phones(ids):
    with pytest.raises(DktError, match="self-loop"):
        phone_ends(two_phone_model(), np.array(ids))


def test_phones_end_where_the_phone_changes_even_unfinished():
    """As in Kaldi, which takes any alignment apart."""
    phones, lengths = phones_and_lengths(two_phone_model(), np.array([3, 4, 2, 3]))
    assert (phones.tolist(), lengths.tolist()) == ([2, 1, 2], [2, 1, 1])
    assert phones_and_lengths(two_phone_model(), np.array([2, 1, 1]))[1].tolist() == [3]
    assert phones_and_lengths(two_phone_model(), np.array([1, 1, 2]))[1].tolist() == [3]
    assert phones_and_lengths(two_phone_model(), np.zeros(0, dtype=np.int32))[0].tolist() == []
