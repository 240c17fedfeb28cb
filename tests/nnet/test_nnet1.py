"""Networks of Kaldi's nnet1: files read, networks run."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.nnet.nnet1 import components as nnet1
from dkt.nnet.nnet1.components import read_nnet1
from dkt.nnet.nnet1.network import Nnet1
from dkt.nnet.nnet1.writer import write_nnet1
from dkt.util.table import read_matrices

FRAMES = np.array([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0], [0.5, 0.0, 0.25]], np.float32)


def run(tmp_path, text, frames=FRAMES):
    (tmp_path / "nnet").write_text(text)
    return Nnet1.read(tmp_path / "nnet")(frames).numpy()


def refused(tmp_path, data):
    path = tmp_path / "bad.nnet"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(DktError) as error:
        read_nnet1(path)
    message = str(error.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


def test_kaldis_dnn_in_both_forms(kaldi_fixtures, tmp_path):
    golden = kaldi_fixtures / "golden/nnet1"
    inputs = dict(read_matrices(f"ark:{golden}/input_cmn.ark"))
    posteriors = dict(read_matrices(f"ark:{golden}/posteriors.ark"))
    network = read_nnet1(golden / "final.nnet")
    (tmp_path / "text.nnet").write_bytes(write_nnet1(network, binary=False))
    forms = {
        golden / "final.feature_transform": golden / "final.nnet",
        golden / "final.feature_transform.txt": tmp_path / "text.nnet",
    }
    assert len(inputs) == 2
    for transform, model in forms.items():
        first, second = Nnet1.read(transform), Nnet1.read(model)
        assert (first.input_dim, first.output_dim, second.output_dim) == (40, 440, 624)
        for utt, features in inputs.items():
            ours = second(first(features).numpy()).numpy()
            np.testing.assert_allclose(ours, posteriors[utt], atol=1e-4, rtol=0)


def test_kaldis_lstm_in_both_forms(kaldi_fixtures):
    golden = kaldi_fixtures / "golden/nnet1_lstm"
    binary = read_nnet1(golden / "final.nnet")
    text = read_nnet1(f"gunzip -c '{golden}/final.nnet.txt.gz' |")
    markers = ["<LstmProjected>", "<LstmProjected>", "<AffineTransform>", "<Softmax>"]
    assert [c.marker for c in binary] == [c.marker for c in text] == markers
    for ours, theirs in zip(binary[:2], text[:2], strict=True):
        assert isinstance(ours, nnet1.LstmComponent) and isinstance(theirs, nnet1.LstmComponent)
        assert ours.cell_clip == theirs.cell_clip == 50.0
        for name, values in vars(ours.directions[0]).items():
            np.testing.assert_allclose(values, getattr(theirs.directions[0], name), rtol=1e-6)
    transform = Nnet1.read(golden / "final.feature_transform.txt")
    logits = dict(read_matrices(f"ark:{golden}/logits.ark"))
    posteriors = dict(read_matrices(f"ark:{golden}/posteriors.ark"))
    before, whole = Nnet1(binary[:-1], "x"), Nnet1(binary, "x")
    for utt, features in read_matrices(f"ark:{golden}/../nnet1/input_cmn.ark"):
        delayed = transform(features).numpy()
        # After its few updates the network varies by some 2e-3 over the frames: 1e-4 would not see much.
        np.testing.assert_allclose(before(delayed), logits[utt], atol=2e-5, rtol=0)
        np.testing.assert_allclose(whole(delayed), posteriors[utt], atol=5e-6, rtol=0)


def test_components_by_hand(tmp_path):
    x = FRAMES.astype(np.float64)

    def gives(text, expected):
        np.testing.assert_allclose(run(tmp_path, text), expected, rtol=1e-5, atol=1e-6)

    gives("<Splice> 9 3 [ -2 0 1 ]", np.hstack([x[[0, 0, 0]], x, x[[1, 2, 2]]]))
    gives("<Copy> 4 3 [ 3 1 1 2 ]", x[:, [2, 0, 0, 1]])
    gives("<AddShift> 3 3 <LearnRateCoef> 0 [ 1 2 3 ]", x + np.array([1, 2, 3]))
    gives("<Rescale> 3 3 [ 1 2 3 ]", x * [1, 2, 3])
    gives("<LinearTransform> 2 3 <LearnRateCoef> 1 [ 1 0 1\n 0 2 0 ]", x @ [[1, 0], [0, 2], [1, 0]])
    affine = "<AffineTransform> 1 3 <MaxNorm> 0 <BiasLearnRateCoef> 1 <LearnRateCoef> 1 [ 1 2 3 ] [ 7 ]"
    gives(affine, x @ [[1], [2], [3]] + 7)
    gives("<Sigmoid> 3 3", 1 / (1 + np.exp(-x)))
    gives("<Tanh> 3 3", np.tanh(x))
    e = np.exp(x)
    gives("<HiddenSoftmax> 3 3", e / e.sum(1, keepdims=True))
    blocks = [e[:, :1] / e[:, :1], e[:, 1:] / e[:, 1:].sum(1, keepdims=True)]
    gives("<BlockSoftmax> 3 3 [ 1 2 ]", np.hstack(blocks))
    relu = "<ParametricRelu> 3 3 <AlphaLearnRateCoef> 0 <BetaLearnRateCoef> 0 [ 1 2 3 ] [ 0.1 0.2 0 ]"
    gives(relu, x * np.where(x >= 0, [1, 2, 3], [0.1, 0.2, 0]))
    gives("<LengthNormComponent> 3 3", x / np.sqrt((x**2).sum(1, keepdims=True)))
    gives("<Dropout> 3 3 <DropoutRate> 0.5 <!EndOfComponent> <Tanh> 3 3", np.tanh(x))
    gives("<Nnet> <TANH> 3 3 <DROPOUT> 3 3 <DropoutRetention> 0.5 <!EndOfComponent> </Nnet>\n", np.tanh(x))
    gives("<Nnet> </Nnet>", x)


def lstm_text(marker, settings, directions, rng):
    cells, outputs = 2, 1
    shapes = [(4 * cells, 3), (4 * cells, outputs), (4 * cells,), *[(cells,)] * 3, (outputs, cells)]
    parts, values = [f"<{marker}> {outputs * directions} 3 {settings}"], []
    for _ in range(directions):
        arrays = [rng.normal(0.0, 1.0, shape) for shape in shapes]
        for array in arrays:
            parts.append(
                "[" + "\n".join(" ".join(map(repr, row)) for row in np.atleast_2d(array).tolist()) + "]"
            )
        values.append(arrays)
    return "\n".join(parts), values


def lstm_by_hand(frames, weights, clip):
    w_x, w_r, bias, p_i, p_f, p_o, w_r_m = weights
    c, r, outputs = np.zeros(2), np.zeros(1), []
    for x in frames:
        g, i, f, o = np.split(w_x @ x + w_r @ r + bias, 4)
        i, f = (1 / (1 + np.exp(-(gate + p * c))) for gate, p in ((i, p_i), (f, p_f)))
        c = np.clip(i * np.tanh(g) + f * c, -clip, clip)
        r = w_r_m @ (np.tanh(c) / (1 + np.exp(-(o + p_o * c))))
        outputs.append(r)
    return np.array(outputs)


@pytest.mark.parametrize(
    ("marker", "settings", "clip"),
    [
        ("BlstmProjected", "<CellDim> 2 <LearnRateCoef> 1 <CellClip> 0.3 <GradClip> 5", 0.3),
        ("BlstmProjectedStreams", "<CellDim> 2 <ClipGradient> 5", 50.0),
        ("LstmProjectedStreams", "<CellDim> 2 <ClipGradient> 5", 50.0),
    ],
)
def test_lstms_of_one_and_two_directions(tmp_path, marker, settings, clip):
    number = 2 if marker.startswith("B") else 1
    text, weights = lstm_text(marker, settings, number, np.random.default_rng(3))
    expected = [lstm_by_hand(FRAMES, weights[0], clip)]
    if number == 2:
        expected.append(lstm_by_hand(FRAMES[::-1], weights[1], clip)[::-1])
    np.testing.assert_allclose(run(tmp_path, text), np.hstack(expected), atol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a network of Kaldi's nnet1"),
        ("1 2 3", "is not a network of Kaldi's nnet1"),
        (
            "<Nnet> <MaxPoolingComponent> 3 3",
            "'<MaxPoolingComponent>' is not a component of nnet1 that dkt runs",
        ),
        ("<Nnet> <Tanh> 3 3 <!EndOfComponent>", "the file is cut short"),
        ("<Tanh> 3 3 <Tanh> 4 4", "<Tanh> has 3 outputs, <Tanh> after it 4 inputs"),
        ("<Tanh> 3 4", "<Tanh> has 4 inputs and 3 outputs"),
        ("<Tanh> 0 0", "impossible dimensions"),
        ("<Tanh> 3 x", "expected a number, found 'x'"),
        ("<Splice> 9 3 [ 0 1 ]", "<Splice> of 2 frames has 9 outputs"),
        ("<Copy> 2 3 [ 1 4 ]", "<Copy> does not name an input for each of its outputs"),
        ("<Copy> 2 3 [ 0 1 ]", "<Copy> does not name an input for each of its outputs"),
        ("<Rescale> 3 3 [ 1 2 ]", "<Rescale> has parameters of shape (2,), expected (3,)"),
        ("<Rescale> 1 1 [ nan ]", "<Rescale> has a parameter that is not a number"),
        ("<Rescale> 1 1 [ 1e39 ]", "<Rescale> has a parameter that is not a number"),
        ("<LinearTransform> 1 2 <Colour> 3 [ 1 2 ]", "expected <LearnRateCoef>, found '<Colour>'"),
        ("<LinearTransform> 2 1 [ 1 2 ]", "shape (1, 2), expected (2, 1)"),
        ("<BlockSoftmax> 3 3 [ 1 1 ]", "blocks that do not add up"),
        ("<LstmProjected> 1 1 [ 1 ]", "does not tell its <CellDim>"),
        ("<BlstmProjected> 3 1 <CellDim> 1", "3 outputs, expected an even number"),
        ("<LstmProjected> 1 1 <CellDim> 2000000000 [ 1 ]", "expected (8000000000, 1)"),
        ("<Nnet> <Tanh> 3 3 </Nnet> <Nnet>", "expected the end of the file"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, text, message):
    assert message in refused(tmp_path, text)


def small_network():
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(4, 9)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    return [
        nnet1.Splice("<Splice>", 3, 9, np.array([-1, 0, 1], np.int32)),
        nnet1.Affine("<AffineTransform>", 9, 4, weight, bias),
        nnet1.Component("<Sigmoid>", 4, 4),
    ]


@pytest.mark.parametrize("binary", [True, False])
def test_written_and_read(tmp_path, binary):
    (tmp_path / "nnet").write_bytes(write_nnet1(small_network(), binary))
    found = read_nnet1(tmp_path / "nnet")
    for ours, theirs in zip(found, small_network(), strict=True):
        assert type(ours) is type(theirs)
        for name, value in vars(theirs).items():
            # Text has seven digits.
            if isinstance(value, np.ndarray):
                np.testing.assert_allclose(getattr(ours, name), value, rtol=1e-6)
            else:
                assert getattr(ours, name) == value


def test_damaged_binary_files_are_errors_and_cost_no_memory(tmp_path):
    data = write_nnet1(small_network())
    for end in range(3, len(data) - 8, 5):
        refused(tmp_path, data[:end])
    # A matrix of 2 billion rows, in a file of some hundred bytes.
    place = data.index(b"FM ") + 3
    assert "cut short" in refused(
        tmp_path, data[:place] + b"\4" + struct.pack("<i", 2**31 - 1) + data[place + 5 :]
    )
    rng = random.Random(0)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.randrange(2, len(data))] = rng.randrange(256)
        (tmp_path / "x").write_bytes(damaged)
        try:
            components = read_nnet1(tmp_path / "x")
        except DktError as error:
            assert "\n" not in str(error)
            continue
        assert len(components) == 3


def test_doubles_are_read(tmp_path):
    data = write_nnet1([nnet1.PerDimension("<Rescale>", 2, 2, np.array([1.5, 2.5], np.float32))])
    place = data.index(b"FV ")
    double = b"DV \4" + struct.pack("<i", 2) + struct.pack("<2d", 1.5, 2.5)
    (tmp_path / "nnet").write_bytes(data[:place] + double + data[place + 3 + 5 + 8 :])
    (component,) = read_nnet1(tmp_path / "nnet")
    assert isinstance(component, nnet1.PerDimension)
    assert component.values.tolist() == [1.5, 2.5] and component.values.dtype == np.float32
