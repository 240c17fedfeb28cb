"""The transition model and the topology, against what Kaldi wrote."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.hmm.topology import HmmState, HmmTopology, load_topology
from dkt.hmm.transition_model import (
    TransitionModel,
    initial_tuples,
    load_transition_model,
    read_transition_model,
    write_transition_model,
)
from dkt.util.object_io import ObjectReader, ObjectWriter


def two_phone_model(chain: bool = False) -> TransitionModel:
    """A silence of one state and a phone of two states (or one chain-like state)."""
    loop = [
        HmmState(0, 0, [(0, 0.5), (1, 0.5)]),
        HmmState(),
    ]
    if chain:
        long = [HmmState(0, 1, [(0, 0.5), (1, 0.5)]), HmmState()]
    else:
        long = [HmmState(0, 0, [(0, 0.75), (1, 0.25)]), HmmState(1, 1, [(1, 0.75), (2, 0.25)]), HmmState()]
    topology = HmmTopology([loop, long], {1: 0, 2: 1})
    return TransitionModel(topology, initial_tuples(topology, {(1, 0): 0, (2, 0): 1, (2, 1): 2}))


def test_ids_are_one_based_and_take_the_self_loop_pdf_on_self_loops():
    model = two_phone_model(chain=True)
    assert model.id2pdf.tolist() == [-1, 0, 0, 2, 1]
    assert model.is_self_loop.tolist() == [False, True, False, True, False]
    assert model.is_final.tolist() == [False, False, True, False, True]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("chain", [True, False])
def test_round_trip(binary, chain, tmp_path):
    model = two_phone_model(chain)
    writer = ObjectWriter(binary)
    write_transition_model(writer, model)
    writer.save(tmp_path / "final.mdl")
    back = load_transition_model(tmp_path / "final.mdl")
    assert (b"<Tuples>" in writer.getvalue()) == chain
    np.testing.assert_array_equal(back.tuples, model.tuples)
    np.testing.assert_array_equal(back.id2pdf, model.id2pdf)
    np.testing.assert_allclose(back.log_probs, model.log_probs, atol=1e-6)


def test_cut_short_at_every_byte_is_an_error(tmp_path):
    writer = ObjectWriter()
    write_transition_model(writer, two_phone_model())
    data = writer.getvalue()
    for size in range(len(data) - 2):
        with pytest.raises(DktError, match=r"m\.mdl"):
            read_transition_model(ObjectReader(data[:size], "m.mdl"))


def test_an_alignment_of_another_model_is_refused():
    model = two_phone_model()
    with pytest.raises(DktError, match=r"ali.1.gz: utterance 'u1': transition-ids from 1 to 99"):
        model.check_ids(np.array([1, 99]), "ali.1.gz", "u1")


def test_self_loop_and_the_rest_sum_to_one():
    loop, rest = two_phone_model().self_loop_log_probs()
    np.testing.assert_allclose(np.exp(loop[1:]) + np.exp(rest[1:]), 1.0)


@pytest.mark.parametrize("name", ["transition_model.txt", "transition_model.bin"])
def test_kaldi_wrote_it_and_we_write_the_same_bytes(kaldi_fixtures, name):
    data = (kaldi_fixtures / "golden" / name).read_bytes()
    model = read_transition_model(ObjectReader(data, name))
    writer = ObjectWriter(binary=name.endswith("bin"))
    write_transition_model(writer, model)
    if name.endswith("bin"):
        assert writer.getvalue() == data
    else:
        assert _rounded(writer.getvalue()) == _rounded(data)


def _rounded(text: bytes) -> list[str]:
    words = text.decode().split()
    return [f"{float(w):.5g}" if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", w) else w for w in words]


def test_show_transitions_agrees_with_kaldi(kaldi_fixtures):
    model = load_transition_model(kaldi_fixtures / "exp/tri2b/final.mdl")
    phones = (
        {
            int(line.split()[1]): line.split()[0]
            for line in (kaldi_fixtures / "exp/tri2b/graph/phones.txt").read_text().splitlines()
        }
        if (kaldi_fixtures / "exp/tri2b/graph/phones.txt").exists()
        else {}
    )
    seen = 0
    for line in (kaldi_fixtures / "golden/show_transitions.txt").read_text().splitlines():
        if line.startswith("Transition-state"):
            state, phone, hmm_state, pdf = re.match(
                r"Transition-state (\d+): phone = (\S+) hmm-state = (\d+) pdf = (\d+)", line
            ).groups()
        else:
            number, p = re.match(r" Transition-id = (\d+) p = (\S+)", line).groups()
            tid = int(number)
            assert model.id2state[tid] == int(state)
            assert phones.get(model.id2phone[tid], phone) == phone
            assert model.id2hmm_state[tid] == int(hmm_state)
            assert model.id2pdf[tid] == int(pdf)
            assert model.is_self_loop[tid] == ("[self-loop]" in line)
            assert np.exp(model.log_probs[tid]) == pytest.approx(float(p), rel=1e-4)
            seen += 1
    assert seen == model.num_transition_ids == 4854
    assert model.num_pdfs == 624


def test_topology_of_a_lang_directory(kaldi_fixtures):
    topology = load_topology(kaldi_fixtures / "lang/topo")
    assert topology.phones == list(range(1, 167))
    assert topology.num_pdf_classes(1) == 5
    assert topology.num_pdf_classes(11) == 3
    assert topology.is_hmm()


def test_text_objects_keep_double_precision_and_refuse_what_is_no_number():
    counts = ObjectReader(b" [ 16777217.5 1 ]\n", "x").vector()
    assert counts.tolist() == [16777217.5, 1.0]
    for text in (b"1_0 ", b"2147483648 ", b"9" * 5000, "²".encode()):
        with pytest.raises(DktError, match="x: expected a"):
            ObjectReader(text, "x").int32()
    with pytest.raises(DktError, match="the file is damaged: a matrix of 0 x 2"):
        ObjectReader(b"\0BFM \x04\0\0\0\0\x04\2\0\0\0", "x").matrix()


def test_a_pdf_that_no_model_has_is_an_error():
    topology = two_phone_model().topology
    with pytest.raises(DktError, match="pdf 2000000000"):
        TransitionModel(topology, initial_tuples(topology, {(1, 0): 0, (2, 0): 1, (2, 1): 2_000_000_000}))
