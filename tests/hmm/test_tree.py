"""Decision trees, against Kaldi's own and against its description of a monophone tree."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.hmm.event_map import ConstantEventMap, SplitEventMap, TableEventMap, leaves
from dkt.hmm.topology import load_topology
from dkt.hmm.transition_model import load_transition_model
from dkt.hmm.tree import ContextDependency, load_tree, monophone_transition_model, monophone_tree, save_tree
from tests.tiny_lang import tiny_topology


@pytest.fixture
def left_biphone() -> ContextDependency:
    """Phone 2 asks whether a 1 stands on its left; other phones are told apart by pdf class."""
    asks = SplitEventMap(0, (0, 1), ConstantEventMap(3), ConstantEventMap(4))
    by_class = TableEventMap(-1, [ConstantEventMap(0), None, ConstantEventMap(1)])
    return ContextDependency(2, 1, SplitEventMap(1, (2,), asks, by_class))


def test_the_window_decides(left_biphone):
    assert left_biphone.pdf([1, 2], 0) == 3
    assert left_biphone.pdf([0, 2], 2) == 3, "0 stands for the start of the utterance"
    assert left_biphone.pdf([2, 2], 0) == 4
    assert left_biphone.pdf([2, 1], 2) == 1
    assert left_biphone.num_pdfs == 5


@pytest.mark.parametrize("pdf_class", [1, 3])
def test_no_answer_is_an_error_that_names_the_phones(left_biphone, pdf_class):
    with pytest.raises(DktError, match=rf"no answer for phones \[2, 1\], pdf class {pdf_class}"):
        left_biphone.pdf([2, 1], pdf_class)


def test_a_window_of_another_width_is_an_error(left_biphone):
    with pytest.raises(DktError, match="a window of 3 phones, expected 2"):
        left_biphone.pdf([1, 2, 3], 0)


@pytest.mark.parametrize("binary", [True, False])
def test_round_trip(left_biphone, binary, tmp_path):
    save_tree(tmp_path / "tree", left_biphone, binary)
    back = load_tree(tmp_path / "tree")
    assert (back.context_width, back.central_position, back.to_pdf) == (2, 1, left_biphone.to_pdf)


def test_cut_short_at_every_byte_is_an_error(left_biphone, tmp_path):
    path = tmp_path / "tree"
    save_tree(path, left_biphone)
    data = path.read_bytes()
    for size in range(len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(DktError, match="tree"):
            load_tree(path)


def test_a_tree_of_endless_depth_is_an_error(tmp_path):
    (tmp_path / "tree").write_text("ContextDependency 1 0 ToPdf " + "SE 0 [ 1 ] { " * 5000)
    with pytest.raises(DktError, match="levels deep"):
        load_tree(tmp_path / "tree")


def test_monophone_pdfs_are_numbered_set_by_set_and_class_by_class():
    tree = monophone_tree([[3, 2], [1], [4]], tiny_topology())
    assert [tree.pdf([3], c) for c in range(3)] == [0, 1, 2]
    assert [tree.pdf([2], c) for c in range(3)] == [0, 1, 2]
    assert [tree.pdf([1], c) for c in range(5)] == [3, 4, 5, 6, 7]
    assert [tree.pdf([4], c) for c in range(3)] == [8, 9, 10]
    assert tree.num_pdfs == 11


def test_sets_of_single_phones_make_a_table_as_in_kaldi(tmp_path):
    tree = monophone_tree([[1], [2], [3], [4]], tiny_topology())
    save_tree(tmp_path / "tree", tree, binary=False)
    text = " ".join((tmp_path / "tree").read_text().split())
    assert text == (
        "ContextDependency 1 0 ToPdf TE 0 5 ( NULL TE -1 5 ( CE 0 CE 1 CE 2 CE 3 CE 4 ) "
        "TE -1 3 ( CE 5 CE 6 CE 7 ) TE -1 3 ( CE 8 CE 9 CE 10 ) TE -1 3 ( CE 11 CE 12 CE 13 ) ) "
        "EndContextDependency"
    )


@pytest.mark.parametrize("sets", [[[1], [2], [3]], [[1], [2, 3], [3, 4]], [[1], [2, 3, 4, 5]]])
def test_phone_sets_that_do_not_fit_the_topology_are_an_error(sets):
    with pytest.raises(DktError, match="every phone of the topology once"):
        monophone_tree(sets, tiny_topology())


def test_monophone_transition_model_follows_the_tree():
    topology = tiny_topology()
    model = monophone_transition_model(monophone_tree([[1], [2, 3], [4]], topology), topology)
    assert model.num_pdfs == 11
    assert model.num_transition_states == 5 + 3 * 3
    phones_of_pdf_5 = set(model.id2phone[1:][model.id2pdf[1:] == 5].tolist())
    assert phones_of_pdf_5 == {2, 3}


def test_a_triphone_tree_is_no_monophone_tree(left_biphone):
    with pytest.raises(DktError, match="context width 2, expected 1"):
        monophone_transition_model(left_biphone, tiny_topology())


def test_kaldi_tree_round_trip_gives_the_same_bytes(kaldi_fixtures, tmp_path):
    tree = load_tree(kaldi_fixtures / "exp/tri2b/tree")
    info = dict(line.split() for line in (kaldi_fixtures / "golden/tree_info.txt").read_text().splitlines())
    assert tree.num_pdfs == int(info["num-pdfs"])
    assert tree.context_width == int(info["context-width"])
    assert tree.central_position == int(info["central-position"])
    save_tree(tmp_path / "tree", tree)
    assert (tmp_path / "tree").read_bytes() == (kaldi_fixtures / "exp/tri2b/tree").read_bytes()


def test_kaldi_tree_answers_with_the_pdfs_of_kaldi_model(kaldi_fixtures):
    tree = load_tree(kaldi_fixtures / "exp/tri2b/tree")
    model = load_transition_model(kaldi_fixtures / "exp/tri2b/final.mdl")
    allowed = defaultdict(set)
    for phone, state, pdf, _ in model.tuples.tolist():
        allowed[phone, state].add(pdf)
    rng = np.random.default_rng(1)
    phones = np.array([0, *model.topology.phones])
    given = defaultdict(set)
    for left, right in zip(rng.choice(phones, 200), rng.choice(phones, 200), strict=True):
        for phone in model.topology.phones[::7]:
            for state in range(len(model.topology.states(phone)) - 1):
                given[phone, state].add(tree.pdf([left, phone, right], state))
    assert all(given[key] <= allowed[key] for key in given)
    contexts_matter = [key for key in given if len(given[key]) > 3]
    assert len(contexts_matter) > 20


def test_monophone_tree_halves_phone_sets_as_kaldi_does(kaldi_fixtures):
    """The roots of a triphone tree are split over the phone sets in the same way, at its central position."""
    lines = (kaldi_fixtures / "lang/phones/sets.int").read_text().splitlines()
    sets = [[int(phone) for phone in line.split()] for line in lines]
    mono = monophone_tree(sets, load_topology(kaldi_fixtures / "lang/topo"))
    assert list(leaves(mono.to_pdf)) == list(range(2 * 5 + 39 * 3))
    pending = [(mono.to_pdf, load_tree(kaldi_fixtures / "exp/tri2b/tree").to_pdf)]
    num_compared = 0
    while pending:
        mine, kaldis = pending.pop()
        if isinstance(mine, SplitEventMap):
            assert (kaldis.key, kaldis.yes_set) == (1, mine.yes_set)
            pending += [(mine.yes, kaldis.yes), (mine.no, kaldis.no)]
            num_compared += 1
    assert num_compared == len(sets) - 1
