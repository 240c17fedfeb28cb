"""Networks of Kaldi's nnet3: files read and written, networks run."""

from __future__ import annotations

import gzip
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dkt.base.errors import DktError
from dkt.hmm.transition_model import load_transition_model
from dkt.nnet.nnet3.decodable import ComputeOptions, Nnet3Computer
from dkt.nnet.nnet3.descriptors import parse_descriptor
from dkt.nnet.nnet3.evaluation import Evaluator
from dkt.nnet.nnet3.model import Nnet3Model, encode_nnet3_model, read_nnet3_model
from dkt.nnet.nnet3.propagate import propagation
from dkt.util.table import read_matrices
from tests.mutation import FUZZ, damaged
from tests.nnet.nnet3_lab import (
    Build,
    OneByOne,
    affine,
    batch_norm,
    more_components,
    plain,
    random_network,
    tdnn,
)

NETWORKS = (
    "nnet3_lstm/lstm",
    "nnet3_more/tdnn",
    "nnet3_more/tdnnf",
    "nnet3_more/lstm_noproj",
    "nnet3_more/blstm",
)
WHOLE, CHUNKS = ComputeOptions(), ComputeOptions(frames_per_chunk=50)


def written(tmp_path, data):
    path = tmp_path / "some.raw"
    path.write_bytes(data)
    return path


def refused(tmp_path, data):
    path = written(tmp_path, data if isinstance(data, bytes) else data.encode())
    with pytest.raises(DktError) as error:
        read_nnet3_model(path)
    message = str(error.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


def same(network, other):
    ours, theirs = ([node.config_line() for node in each.nodes.values()] for each in (network, other))
    assert ours == theirs
    assert list(network.components) == list(other.components)
    for name, component in network.components.items():
        fields = other.components[name].fields
        assert (component.kind, list(component.fields)) == (other.components[name].kind, list(fields))
        for key, value in component.fields.items():
            if value is None:
                assert fields[key] is None
            else:
                np.testing.assert_allclose(fields[key], value, rtol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_kaldis_files_come_out_as_they_were(kaldi_fixtures, tmp_path, name):
    raw = kaldi_fixtures / "golden" / f"{name}.raw"
    model = read_nnet3_model(raw)
    assert encode_nnet3_model(model) == raw.read_bytes()
    text = encode_nnet3_model(model, binary=False)
    same(model.network, read_nnet3_model(written(tmp_path, text)).network)


def test_kaldis_text(kaldi_fixtures, tmp_path):
    golden = kaldi_fixtures / "golden"
    texts = {
        "nnet3_lstm/lstm": (golden / "nnet3_lstm/lstm.raw.txt").read_bytes(),
        "nnet3_more/tdnn": gzip.decompress((golden / "nnet3_more/tdnn.raw.txt.gz").read_bytes()),
    }
    for name, text in texts.items():
        read = read_nnet3_model(written(tmp_path, text))
        assert encode_nnet3_model(read, binary=False) == text
        assert encode_nnet3_model(read_nnet3_model(golden / f"{name}.raw"), binary=False) == text
        assert encode_nnet3_model(read)[:9] == b"\0B<Nnet3>"


def ivectors_of(golden, name):
    """One a row, or one each utterance: Kaldi writes these as vectors."""
    if name is None:
        return {}
    if "online" in name:
        return dict(read_matrices(f"ark:{golden}/{name}"))
    kaldiio = pytest.importorskip("kaldiio")
    return dict(kaldiio.load_ark(str(golden / name)))


@pytest.mark.parametrize(
    ("network", "output", "golden", "options", "ivectors"),
    [
        ("nnet3_lstm/lstm", "output", "nnet3_lstm/log_posteriors", WHOLE, None),
        ("nnet3_more/tdnn", "output", "nnet3_more/tdnn", CHUNKS, None),
        ("nnet3_more/tdnn", "output", "nnet3_more/tdnn", WHOLE, None),
        ("nnet3_more/lstm_noproj", "output", "nnet3_more/lstm_noproj", WHOLE, None),
        ("nnet3_more/blstm", "output", "nnet3_more/blstm", WHOLE, None),
        ("nnet3_more/tdnnf", "output", "nnet3_more/tdnnf_output", WHOLE, "ivectors.ark"),
        (
            "nnet3_more/tdnnf",
            "output",
            "nnet3_more/tdnnf_output_online_ivectors",
            CHUNKS,
            "ivectors_online_period10.ark",
        ),
        ("nnet3_more/tdnnf", "output-xent", "nnet3_more/tdnnf_output_xent", WHOLE, "ivectors.ark"),
        (
            "nnet3_more/tdnnf",
            "output-xent",
            "nnet3_more/tdnnf_output_xent_every_third",
            ComputeOptions(frame_subsampling_factor=3),
            "ivectors.ark",
        ),
    ],
)
def test_outputs_are_kaldis(kaldi_fixtures, network, output, golden, options, ivectors):
    root = kaldi_fixtures / "golden"
    computer = Nnet3Computer(read_nnet3_model(root / f"{network}.raw").network, output)
    theirs = dict(read_matrices(f"ark:{root}/{golden}.ark"))
    vectors = ivectors_of(root / "nnet3_more", ivectors)
    assert len(theirs) == 2
    for utt, features in read_matrices(f"ark:{root}/nnet1/input_cmn.ark"):
        ours = computer(features, options, vectors.get(utt))
        assert len(ours) == len(theirs[utt])
        np.testing.assert_allclose(ours[:, : theirs[utt].shape[1]], theirs[utt], atol=1e-4, rtol=0)


def final_mdl(kaldi_fixtures):
    root = kaldi_fixtures / "golden"
    transitions = load_transition_model(root / "transition_model.bin")
    network = read_nnet3_model(root / "nnet3_lstm/lstm.raw").network
    return Nnet3Model(network, transitions, 0, 5, np.full(transitions.num_pdfs, 1 / 624, np.float32))


@pytest.mark.parametrize("binary", [True, False])
def test_final_mdl_comes_out_as_it_was(kaldi_fixtures, tmp_path, binary):
    data = encode_nnet3_model(final_mdl(kaldi_fixtures), binary)
    model = read_nnet3_model(written(tmp_path, data))
    assert encode_nnet3_model(model, binary) == data
    assert (model.left_context, model.right_context, len(model.priors)) == (0, 5, 624)
    assert data.startswith(b"\0B<TransitionModel>" if binary else b"<TransitionModel>")


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_by_the_definition_and_through_files(tmp_path, seed):
    network, has_ivectors = random_network(seed)
    chance = np.random.default_rng(seed)
    features = chance.normal(size=(12, 3)).astype(np.float32)
    vector = chance.normal(size=2).astype(np.float32) if has_ivectors else None
    computer = Nnet3Computer(network, dtype=np.float64)
    times = range(-computer.left_context, 12 + computer.right_context)
    inputs = {"input": {t: features[np.clip(t, 0, 11)].astype(float) for t in times}}
    inputs["ivector"] = {0: vector} if has_ivectors else {}
    one_by_one = OneByOne(network, inputs)
    expected = np.stack([one_by_one.node("output", t) for t in range(12)])
    np.testing.assert_allclose(computer(features, None, vector), expected, rtol=1e-9, atol=1e-12)
    thirds = computer(features, ComputeOptions(frame_subsampling_factor=3, extra_right_context=2), vector)
    assert thirds.shape == (4, 2)
    data = encode_nnet3_model(Nnet3Model(network))
    again = read_nnet3_model(written(tmp_path, data))
    assert encode_nnet3_model(again) == data
    text = encode_nnet3_model(Nnet3Model(network), binary=False)
    read = read_nnet3_model(written(tmp_path, text))
    assert encode_nnet3_model(read, binary=False) == text
    same(network, read.network)
    np.testing.assert_allclose(
        Nnet3Computer(read.network)(features, None, vector), expected, rtol=1e-3, atol=1e-4
    )


def test_an_lstm_begins_with_nothing_and_is_delayed():
    build = Build(1)
    build.input("input", 3)
    layer = build.lstm_layer("lstm", "input", -1)
    network = build.network(f"Offset({layer}, 2)")
    computer = Nnet3Computer(network)
    assert (computer.left_context, computer.right_context) == (0, 2)
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    undelayed = Evaluator(network)(
        {"input": (np.arange(9), x[[0, 1, 2, 3, 4, 5, 6, 6, 6]])}, layer, np.arange(9)
    )
    np.testing.assert_array_equal(computer(x), undelayed[2:])
    # Chunks begin anew, unless they see what was before.
    whole = computer(x)
    np.testing.assert_array_equal(computer(x, ComputeOptions(frames_per_chunk=3))[:3], whole[:3])
    assert np.abs(computer(x, ComputeOptions(frames_per_chunk=3)) - whole)[3:].max() > 1e-3
    chunked = ComputeOptions(frames_per_chunk=3, extra_left_context=6, extra_left_context_initial=0)
    # The first frame, repeated, is before the second chunk.
    np.testing.assert_allclose(computer(x, chunked)[:3], whole[:3])


def test_a_component_of_every_kind(tmp_path):
    chance = random.Random(3)
    values = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    by_kind = {component.kind: component for component in more_components(chance, 6)}

    def run(kind):
        return propagation(by_kind[kind], np.dtype(np.float64))(values.astype(np.float64))

    square = values.astype(float) ** 2
    np.testing.assert_allclose(run("PnormComponent"), np.sqrt(square.reshape(4, 2, 3).sum(2)))
    np.testing.assert_allclose(
        run("ElementwiseProductComponent"), values[:, :3].astype(float) * values[:, 3:]
    )
    np.testing.assert_allclose(run("SumBlockComponent"), 0.5 * (values[:, :3].astype(float) + values[:, 3:]))
    groups = [values[:, 0], values[:, 1:3].sum(1), values[:, 3:].sum(1)]
    np.testing.assert_allclose(run("SumGroupComponent"), np.stack(groups, 1), rtol=1e-6)
    np.testing.assert_allclose(run("DropoutComponent"), 0.75 * values)
    blocks = by_kind["NormalizeComponent"]
    rms = np.sqrt(square.reshape(4, 2, 3).mean(2, keepdims=True))
    normal = np.concatenate([values.reshape(4, 2, 3) / rms, np.log(rms)], 2).reshape(4, 8)
    assert blocks.output_dim == 8
    np.testing.assert_allclose(run("NormalizeComponent"), normal)
    weight = by_kind["BlockAffineComponent"].fields["LinearParams"]
    block = np.concatenate([values[:, :3] @ weight[:2].T, values[:, 3:] @ weight[2:].T], 1)
    np.testing.assert_allclose(
        run("BlockAffineComponent"), block + by_kind["BlockAffineComponent"].fields["BiasParams"], rtol=1e-5
    )
    norm = by_kind["BatchNormComponent"].fields
    scale = 0.7 / np.sqrt(np.tile(norm["StatsVar"], 2).astype(float) + 0.001)
    np.testing.assert_allclose(
        run("BatchNormComponent"), (values - np.tile(norm["StatsMean"], 2)) * scale, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Append(a, Offset(b, -1))", "Append(a, Offset(b, -1))"),
        ("IfDefined(Append(a,b))", "Append(IfDefined(a), IfDefined(b))"),
        ("Append(a, Append(b, a))", "Append(a, b, a)"),
        ("Scale( 0.660 , a)", "Scale(0.660, a)"),
        ("ReplaceIndex(a, t, 0)", "ReplaceIndex(a, t, 0)"),
        ("Offset(a, -3, 0)", "Offset(a, -3)"),
    ],
)
def test_descriptors(text, expected):
    assert str(parse_descriptor(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Append(a",
        "Append()",
        "Offset(a)",
        "Offset(a, b)",
        "Offset(a, 1, 2)",
        "Round(a, 0)",
        "Frob(a)",
        "a b",
        "a)",
        "Scale(x, a)",
        "ReplaceIndex(a, x, 0)",
        "Sum(a, Append(b, c))",
        "Offset(a, 99999999)",
        "Failover(a)",
        "(" * 999,
    ],
)
def test_what_is_no_descriptor(text):
    with pytest.raises(DktError):
        parse_descriptor(text)


def small(binary=True):
    build = Build(5)
    build.input("input", 3)
    chance = build.chance
    build.component("tdnn1", "input", tdnn(chance, 3, 4, [-1, 0]))
    build.component("norm", "tdnn1", batch_norm(chance, 4, 4))
    layer = build.lstm_layer("lstm", "norm", -1, cells=2)
    build.component("affine", layer, affine(chance, 2, 2))
    build.component("soft", "affine", plain("LogSoftmaxComponent", 2))
    return encode_nnet3_model(Nnet3Model(build.network("soft")), binary)


@pytest.mark.parametrize(
    ("old", "new", "culprits"),
    [
        ("Append(norm,", "Append(nrm,", ["'lstm.W'", "'nrm'"]),
        ("component=affine", "component=affin", ["'affine'", "'affin'"]),
        ("component-node name=norm", "component-node name=tdnn1", ["two nodes 'tdnn1'"]),
        ("<ComponentName> norm", "<ComponentName> tdnn1", ["two components 'tdnn1'"]),
        ("name=input dim=3", "name=input dim=4", ["'tdnn1'", "4", "3"]),
        ("dim-offset=2 dim=2", "dim-offset=3 dim=2", ["'lstm.m'", "3 to 4 of 4"]),
        ("input-node name=input", "inpt-node name=input", ["inpt-node"]),
        ("objective=linear", "objective=cubic", ["objective"]),
        ("<BatchNormComponent>", "<BatchNrmComponent>", ["'norm'", "BatchNrm"]),
        (
            "<Dim> 4 <BlockDim> 4",
            "<Dim> 4 <BlockDim> 3",
            ["'norm'", "BatchNormComponent", "<StatsMean> is 4, expected 3"],
        ),
        ("<BlockDim> 4", "<BlockDim> 4.5", ["'norm'", "4.5"]),
        ("<StatsMean>", "<StatMean>", ["'norm'", "<StatsMean>"]),
        ("<TimeOffsets> [ -1 0 ]", "<TimeOffsets> [ -1 -1 ]", ["'tdnn1'", "TimeOffsets"]),
        ("<TimeOffsets> [ -1 0 ]", "<TimeOffsets> [ -1 0 1 2 ]", ["'tdnn1'", "TimeOffsets"]),
        ("<Epsilon> 0.001", "<Epsilon> nan", ["'norm'", "<Epsilon>"]),
        ("<NumComponents> 7", "<NumComponents> 8", ["</Nnet3>"]),
        ("</Nnet3> ", "</Nnet3> <Extra>", ["end of the file"]),
        ("dim=3\n", "dim=3 dim=3\n", ["line"]),
        ("dim=3\n", "dim=03x\n", ["03x"]),
    ],
)
def test_faults_are_named(tmp_path, old, new, culprits):
    text = small(binary=False).decode()
    assert old in text
    message = refused(tmp_path, text.replace(old, new, 1))
    assert all(culprit in message for culprit in culprits), message


def test_a_number_that_is_none_in_binary(tmp_path):
    data = bytearray(small())
    place = data.index(b"<LinearParams> FM ") + len(b"<LinearParams> FM ") + 10
    data[place : place + 4] = b"\0\0\xc0\x7f"
    message = refused(tmp_path, bytes(data))
    assert "'tdnn1' (TdnnComponent)" in message and "<LinearParams>" in message


@pytest.mark.parametrize("binary", [True, False])
def test_every_truncation_is_refused(tmp_path, binary):
    data = small(binary)
    for size in range(0, len(data.rstrip()), 7):
        assert "some.raw" in refused(tmp_path, data[:size])


def test_foreign_files(kaldi_fixtures, tmp_path):
    golden = kaldi_fixtures / "golden"
    for path, what in {
        golden / "nnet1/final.nnet": "nnet1",
        kaldi_fixtures / "exp/tri2b/final.mdl": "GMM",
        kaldi_fixtures / "exp/tri2b/tree": "decision tree",
        golden / "nnet1/posteriors.ark": "nnet3",
    }.items():
        with pytest.raises(DktError, match=what) as error:
            read_nnet3_model(path)
        assert str(error.value).startswith(str(path))
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(DktError, match=str(path)):
            read_nnet3_model(path)
    refused(tmp_path, b"")


def test_models_whose_parts_do_not_fit(kaldi_fixtures, tmp_path):
    model = final_mdl(kaldi_fixtures)
    priors = Nnet3Model(model.network, model.transition_model, 0, 5, np.ones(7, np.float32))
    assert "7 priors" in refused(tmp_path, encode_nnet3_model(priors))
    other = read_nnet3_model(written(tmp_path, small())).network
    assert "2 outputs" in refused(tmp_path, encode_nnet3_model(Nnet3Model(other, model.transition_model)))


def test_networks_that_cannot_be_run():
    build = Build(1)
    build.input("input", 2)
    chance = build.chance
    build.component("a", "Append(input, b)", affine(chance, 4, 2))
    build.component("b", "a", plain("TanhComponent", 2))
    with pytest.raises(DktError, match="circle"):
        Nnet3Computer(build.network("b"))
    build = Build(1)
    build.input("input", 2)
    build.component("a", "Append(input, Offset(a, -1))", affine(chance, 4, 2))
    with pytest.raises(DktError, match="cannot be computed"):
        Nnet3Computer(build.network("a"))
    build = Build(1)
    build.input("input", 2)
    with pytest.raises(DktError, match="every 9797 frames"):
        Nnet3Computer(build.network("Sum(Round(input, 97), Round(input, 101))"))
    build = Build(1)
    build.input("input", 2)
    untrained = batch_norm(chance, 2, 2)
    build.component("norm", "input", replace(untrained, fields={**untrained.fields, "Count": 0.0}))
    with pytest.raises(DktError, match=r"component 'norm': .* without statistics"):
        Nnet3Computer(build.network("norm"))
    build = Build(1)
    build.input("input", 2)
    build.component("a", "input", plain("TanhComponent", 2))
    network = build.network("a")
    with pytest.raises(DktError, match="no output 'output-xent', it has output"):
        Nnet3Computer(network, "output-xent")
    computer = Nnet3Computer(network)
    with pytest.raises(DktError, match="features"):
        computer(np.zeros((3, 5), np.float32))
    with pytest.raises(DktError, match="i-vectors of dimension 0, found 7"):
        computer(np.zeros((3, 2), np.float32), None, np.zeros(7, np.float32))


@FUZZ
@given(st.data())
def test_damaged_files_are_refused_or_are_whole(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "some.raw"
    path.write_bytes(data.draw(damaged([small(), small(binary=False)])))
    try:
        model = read_nnet3_model(path)
    except DktError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        return
    encode_nnet3_model(model)
