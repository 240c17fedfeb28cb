"""The LSTM: its equations against Kaldi's output, its gradients, its state."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from dkt.base.config import build
from dkt.base.errors import DktError
from dkt.nnet import native, native_lstm, threads
from dkt.nnet.lstm import Lstm, LstmConfig
from dkt.nnet.lstm_layer import LstmLayer, PlainLstmLayer
from dkt.nnet.network import Sequences, delayed, reset_state, select_state, store_state
from dkt.nnet.nnet1 import components as nnet1
from dkt.nnet.nnet1.components import read_nnet1
from dkt.nnet.torch_lstm import Clips
from dkt.util.table import read_matrices

# Projection, peepholes, clips; the clip is low enough to act.
FORMS = [
    (3, True, Clips(0.4)),
    (None, True, Clips(0.4)),
    (3, True, Clips()),
    (3, False, Clips(0.4)),
    (3, False, Clips()),
    (None, False, Clips()),
]
FORM_NAMES = ["all", "no-projection", "no-clip", "no-peepholes", "torch", "torch-no-projection"]
each_form = pytest.mark.parametrize("form", FORMS, ids=FORM_NAMES)
# With gradients clipped too, which gradient checks cannot see.
CLIPPED = [(3, True, Clips(0.4, 0.3, 0.5)), (None, True, Clips(0.0, 0.3)), (3, False, Clips(0.0, 0.3, 0.5))]
each_form_and_clip = pytest.mark.parametrize(
    "form", FORMS + CLIPPED, ids=[*FORM_NAMES, "all-clips", "diff-clip", "diff-clips-no-peepholes"]
)


def use(kind, monkeypatch):
    """A form of a layer: the plain one, or the fast one, by the kernel in C++ or by PyTorch alone."""
    if kind == "pytorch":
        monkeypatch.setattr(native_lstm, "serves", lambda tensor: False)
    elif kind == "kernel" and native.load() is None:
        pytest.skip("no C++ compiler: the kernel cannot be tested")
    return PlainLstmLayer if kind == "plain" else LstmLayer


@pytest.fixture(params=["kernel", "pytorch"])
def fast_type(request, monkeypatch):
    return use(request.param, monkeypatch)


@pytest.fixture(params=["plain", "kernel", "pytorch"])
def layer_type(request, monkeypatch):
    return use(request.param, monkeypatch)


def golden_network(directory: Path, layer_type: type[PlainLstmLayer]) -> Lstm:
    """The network that Kaldi trained."""
    *layers, affine, softmax = read_nnet1(directory / "final.nnet")
    assert len(layers) == 2 and isinstance(affine, nnet1.Affine) and softmax.marker == "<Softmax>"
    state = {"shift": np.zeros(40), "scale": np.ones(40)}
    state |= {"output.weight": affine.weight, "output.bias": affine.bias}
    for number, layer in enumerate(layers):
        assert isinstance(layer, nnet1.LstmComponent) and layer.cell_clip == LstmConfig().cell_clip
        (weights,) = layer.directions
        state |= {f"layers.{number}.{name}": value for name, value in vars(weights).items()}
    network = Lstm(LstmConfig(), 40, 624, layer_type)
    network.load_state_dict({name: torch.as_tensor(value) for name, value in state.items()})
    return network.eval()


def test_output_of_kaldi_is_reproduced(kaldi_fixtures, layer_type):
    golden = kaldi_fixtures / "golden" / "nnet1_lstm"
    (splice,) = read_nnet1(golden / "final.feature_transform.txt")
    assert isinstance(splice, nnet1.Splice)
    delay = int(splice.offsets.item())
    assert delay == LstmConfig().target_delay
    network = golden_network(golden, layer_type)
    logits = dict(read_matrices(f"ark:{golden}/logits.ark"))
    posteriors = dict(read_matrices(f"ark:{golden}/posteriors.ark"))
    inputs = dict(read_matrices(f"ark:{golden}/../nnet1/input_cmn.ark"))
    assert len(inputs) == 2 and inputs.keys() == logits.keys()
    for utt, features in inputs.items():
        with torch.inference_mode():
            ours, _ = network(delayed(torch.from_numpy(features), delay)[:, None])
        # After its few updates the network varies by some 2e-3 over the frames: 1e-4 would not see much.
        np.testing.assert_allclose(ours[:, 0], logits[utt], atol=2e-5, rtol=0)
        np.testing.assert_allclose(ours[:, 0].softmax(dim=1), posteriors[utt], atol=5e-6, rtol=0)


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_one_cell_by_hand(layer_type, clip):
    layer = layer_type(1, 1, None, True, Clips(clip))
    weights = {
        "w_gifo_x": torch.tensor([[0.9], [0.3], [-0.2], [0.4]]),
        "w_gifo_r": torch.tensor([[0.5], [-0.6], [0.7], [0.8]]),
        "bias": torch.tensor([0.1, 0.2, 0.3, 0.4]),
        "peepholes": torch.tensor([[1.1], [-1.2], [1.3]]),
    }
    layer.load_state_dict(weights)

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    x, c, r = 2.0, 0.3, -0.4
    g = math.tanh(0.9 * x + 0.5 * r + 0.1)
    i = sigmoid(0.3 * x - 0.6 * r + 1.1 * c + 0.2)
    f = sigmoid(-0.2 * x + 0.7 * r - 1.2 * c + 0.3)
    c_new = i * g + f * c
    assert c_new > 0.5
    if clip:
        c_new = clip  # before the output gate sees it
    o = sigmoid(0.4 * x + 0.8 * r + 1.3 * c_new + 0.4)
    outputs, (cell, recurrent) = layer(torch.tensor([[[x]]]), (torch.tensor([[c]]), torch.tensor([[r]])))
    assert cell.item() == pytest.approx(c_new, rel=1e-6)
    assert outputs.item() == recurrent.item() == pytest.approx(o * math.tanh(c_new), rel=1e-6)


def double_layer(layer_type, form, seed=0):
    torch.manual_seed(seed)
    layer = layer_type(4, 5, *form).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return layer


def random_inputs(layer, num_frames=6, num_streams=2):
    inputs = torch.randn(num_frames, num_streams, 4, dtype=torch.float64, requires_grad=True)
    cell = 0.3 * torch.randn(num_streams, 5, dtype=torch.float64)
    recurrent = torch.randn(num_streams, layer.output_dim, dtype=torch.float64)
    return inputs, cell.requires_grad_(), recurrent.requires_grad_()


@each_form
def test_gradients_of_inputs_state_and_weights(layer_type, form):
    layer = double_layer(layer_type, form)
    inputs = random_inputs(layer, num_frames=4)
    names = [name for name, _ in layer.named_parameters()]
    weights = [parameter.detach().clone().requires_grad_() for parameter in layer.parameters()]

    def run(features, cell, recurrent, *values):
        overridden = dict(zip(names, values, strict=True))
        outputs, state = torch.func.functional_call(layer, overridden, (features, (cell, recurrent)))
        return outputs, *state

    assert torch.autograd.gradcheck(run, (*inputs, *weights))


def gradients(layer, inputs, weigh):
    outputs, (cell, recurrent) = layer(inputs[0], (inputs[1], inputs[2]))
    leaves = [*inputs, *layer.parameters()]
    loss = sum((value * w).sum() for value, w in zip((outputs, cell, recurrent), weigh, strict=True))
    return (outputs, cell, recurrent), torch.autograd.grad(loss, leaves)


@each_form_and_clip
def test_the_fast_form_equals_the_plain_one(fast_type, form):
    plain, fast = double_layer(PlainLstmLayer, form), double_layer(fast_type, form, seed=1)
    fast.load_state_dict(plain.state_dict())
    inputs = random_inputs(plain, num_frames=30, num_streams=3)
    shapes = [(30, 3, plain.output_dim), (3, 5), (3, plain.output_dim)]
    weigh = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    (values, grads), (fast_values, fast_grads) = (gradients(x, inputs, weigh) for x in (plain, fast))
    limit = form[2].cell
    if limit:
        clipped = values[1].abs() == limit
        assert clipped.any() and not clipped.all()
    if form[2].diff or form[2].cell_diff:
        plain.clips = Clips(limit)
        unclipped = gradients(plain, inputs, weigh)[1]
        assert not any(torch.allclose(one, other) for one, other in zip(grads, unclipped, strict=True))
    for ours, theirs in zip([*fast_values, *fast_grads], [*values, *grads], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("projection", [33, None])
def test_large_layers_in_single_precision(fast_type, monkeypatch, projection, number):
    """More cells, outputs and streams than the kernel computes at once, none of them a multiple of it."""
    torch.manual_seed(0)
    plain, fast = (kind(21, 150, projection, True, Clips(0.9)) for kind in (PlainLstmLayer, fast_type))
    fast.load_state_dict(plain.state_dict())
    plain.double()
    inputs = torch.randn(7, 13, 21, requires_grad=True)
    state = [0.5 * torch.randn(13, dim) for dim in (150, plain.output_dim)]
    weigh = [torch.randn(7, 13, plain.output_dim), torch.randn(13, 150), torch.randn(13, plain.output_dim)]
    monkeypatch.setattr(threads, "count", lambda: number)
    leaves = [value.clone().requires_grad_() for value in state]
    values, grads = gradients(fast, (inputs, *leaves), weigh)
    doubles = [value.detach().double().requires_grad_() for value in (inputs, *leaves)]
    expected, expected_grads = gradients(plain, doubles, [value.double() for value in weigh])
    for ours, theirs in zip([*values, *grads], [*expected, *expected_grads], strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=3e-5, rtol=3e-5)


def test_squashing_functions_of_the_kernel(monkeypatch):
    """Of one cell whose gates have no weights but biases: the extremes, and many points between."""
    layer = use("kernel", monkeypatch)(1, 4001, None, False, Clips())
    x = torch.linspace(-30.0, 30.0, 4001)
    x[[0, 1, -1]] = torch.tensor([-1e4, 1e-5, 1e4])
    zero, open_gate = torch.zeros_like(x), torch.full_like(x, 100.0)
    with torch.no_grad():
        for weight in (layer.w_gifo_x, layer.w_gifo_r):
            weight.zero_()
        layer.bias.copy_(torch.cat([x, open_gate, zero, open_gate]))
        _, (tanh_of_x, _) = layer(torch.zeros(1, 1, 1), layer.zero_state(1))
        torch.testing.assert_close(tanh_of_x[0], x.tanh(), atol=0, rtol=3e-7)
        layer.bias.copy_(torch.cat([open_gate, x, zero, open_gate]))
        _, (sigmoid_of_x, _) = layer(torch.zeros(1, 1, 1), layer.zero_state(1))
        torch.testing.assert_close(sigmoid_of_x[0], x.sigmoid(), atol=1e-37, rtol=1e-6)


@pytest.mark.parametrize("projection", [3, None])
def test_without_peepholes_and_clipping_it_is_pytorchs_lstm(layer_type, projection):
    layer = double_layer(layer_type, (projection, False, Clips()))
    theirs = torch.nn.LSTM(4, 5, proj_size=projection or 0).double()
    weights = {"weight_ih_l0": layer.w_gifo_x, "weight_hh_l0": layer.w_gifo_r, "bias_ih_l0": layer.bias}
    rows = torch.arange(20).view(4, 5)[[1, 2, 0, 3]].flatten()  # g, i, f, o to i, f, g, o
    state = {name: value.detach()[rows] for name, value in weights.items()}
    state["bias_hh_l0"] = torch.zeros(20, dtype=torch.float64)
    if projection:
        state["weight_hr_l0"] = layer.w_r_m.detach()
    theirs.load_state_dict(state)
    inputs, cell, recurrent = random_inputs(layer)
    outputs, (last_cell, last_recurrent) = layer(inputs, (cell, recurrent))
    expected, (their_recurrent, their_cell) = theirs(inputs, (recurrent[None], cell[None]))
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(last_cell, their_cell[0])
    torch.testing.assert_close(last_recurrent, their_recurrent[0])


def small_network(layer=LstmLayer, **sizes):
    torch.manual_seed(0)
    config = LstmConfig(**({"layers": 2, "cells": 12, "projection": 6, "cell_clip": 0.7} | sizes))
    network = Lstm(config, 4, 5, layer)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.6 * torch.randn_like(parameter))  # the recurrence and the clipping matter
    network.fit_normalisation([torch.randn(100, 4) * 3 + 1])
    return network.eval()


VARIANTS = [{}, {"projection": None}, {"peepholes": False, "cell_clip": 0.0}]


@pytest.mark.parametrize("sizes", VARIANTS)
@torch.inference_mode()
def test_an_utterance_gets_the_same_logits_in_any_batch(sizes):
    network = small_network(**sizes)
    lengths = (23, 57, 1, 40)
    utterances = [torch.randn(length, 4) for length in lengths]
    alone = [network(utterance[:, None])[0][:, 0] for utterance in utterances]
    padded = torch.nn.utils.rnn.pad_sequence(utterances, padding_value=99.0)
    together, _ = network(padded)
    for number, length in enumerate(lengths):
        torch.testing.assert_close(together[:length, number], alone[number], atol=1e-4, rtol=0)
    assert not torch.allclose(alone[0], alone[1][:23], atol=0.1)


@pytest.mark.parametrize("sizes", VARIANTS)
@torch.inference_mode()
def test_chunks_with_carried_state_equal_the_whole(sizes):
    network = small_network(**sizes)
    features = torch.randn(53, 3, 4)
    whole, last = network(features)
    for length in (1, 7, 20):
        state, pieces = None, []
        for chunk in features.split(length):
            logits, state = network(chunk, state)
            pieces.append(logits)
        torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-4, rtol=0)
        for ours, theirs in zip(state, last, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    fresh = torch.cat([network(chunk)[0] for chunk in features.split(20)])
    assert (fresh - whole)[20:].abs().max() > 0.01  # the state does carry something


def test_both_forms_of_the_network_share_weights():
    fast, plain = small_network(), small_network(PlainLstmLayer)
    plain.load_state_dict(fast.state_dict())
    features = torch.randn(30, 3, 4)
    torch.testing.assert_close(plain(features)[0], fast(features)[0], atol=1e-5, rtol=0)


def test_delay_looks_ahead_and_repeats_the_last_frame():
    features = torch.arange(8.0)[:, None]
    assert delayed(features, 5)[:, 0].tolist() == [5, 6, 7, 7, 7, 7, 7, 7]
    assert delayed(features, 0)[:, 0].tolist() == features[:, 0].tolist()
    assert delayed(features[:2], 5)[:, 0].tolist() == [1, 1]


def test_the_state_of_some_streams_is_reset_selected_and_stored():
    network = small_network()
    _, state = network(torch.randn(9, 4, 4))
    fresh = reset_state(state, torch.tensor([False, True, False, True]))
    for before, after in zip(state, fresh, strict=True):
        for old, new in zip(before, after, strict=True):
            assert torch.equal(new[[0, 2]], old[[0, 2]]) and not old[1].eq(0).any()
            assert new[[1, 3]].eq(0).all()
    carried = network.zero_state(6)
    streams = torch.tensor([4, 0, 5, 1])
    store_state(carried, streams, state)
    for (cell, recurrent), (stored_cell, stored_recurrent) in zip(state, carried, strict=True):
        assert torch.equal(stored_cell[streams], cell) and torch.equal(stored_recurrent[streams], recurrent)
        assert stored_cell[[2, 3]].eq(0).all() and not stored_recurrent.requires_grad
    for (cell, _), (chosen, _) in zip(carried, select_state(carried, torch.tensor([5, 2])), strict=True):
        assert torch.equal(chosen, cell[[5, 2]])


def test_a_reset_stream_begins_like_a_new_one():
    network = small_network()
    _, state = network(torch.randn(9, 2, 4))
    features = torch.randn(11, 2, 4)
    expected, _ = network(features)
    logits, _ = network(features, reset_state(state, torch.tensor([True, False])))
    torch.testing.assert_close(logits[:, 0], expected[:, 0])
    assert not torch.allclose(logits[:, 1], expected[:, 1], atol=1e-3)


def test_back_propagation_ends_at_the_state_that_a_runner_carries():
    network = small_network()
    first = torch.randn(5, 2, 4, requires_grad=True)
    second = torch.randn(5, 2, 4)
    begun, goes_on = torch.tensor([True, True]), torch.tensor([False, False])
    mask, lengths, streams = torch.ones(5, 2, dtype=torch.bool), torch.tensor([5, 5]), torch.tensor([0, 1])
    _, state = network(first)
    expected = network(second, state)[0]
    assert torch.autograd.grad(expected.sum(), first)[0].abs().max() > 0
    run = network.runner(2)
    run(Sequences(first, mask, lengths, begun, streams))
    logits = run(Sequences(second, mask, lengths, goes_on, streams))
    torch.testing.assert_close(logits, expected.flatten(0, 1))
    assert torch.autograd.grad(logits.sum(), first, allow_unused=True)[0] is None


def test_normalised_input_has_zero_mean_and_unit_variance():
    network = Lstm(LstmConfig(1, 4, None), 3, 2)
    frames = torch.randn(500, 3) * torch.tensor([1.0, 9.0, 0.1]) + 4
    network.fit_normalisation([frames[:300].view(30, 10, 3), frames[300:]])
    normalised = (frames + network.shift) * network.scale
    torch.testing.assert_close(normalised.mean(dim=0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(normalised.std(dim=0, correction=0), torch.ones(3), atol=1e-4, rtol=0)
    network.fit_normalisation([torch.ones(4, 3)])
    assert torch.isfinite(network(torch.full((2, 1, 3), 1.1))[0]).all()


def test_normalisation_comes_first():
    network = small_network()
    features = torch.randn(6, 2, 4)
    expected, _ = network(features)
    normalised = (features + network.shift) * network.scale
    network.shift.zero_()
    network.scale.fill_(1.0)
    torch.testing.assert_close(network(normalised)[0], expected)


def test_a_fresh_network_remembers_and_has_no_preferred_pdf():
    torch.manual_seed(0)
    network = Lstm(LstmConfig(), 40, 624)
    logits, _ = network(torch.randn(20, 4, 40))
    assert functional.cross_entropy(logits.flatten(0, 1), torch.arange(80)).item() == pytest.approx(
        math.log(624), abs=0.01
    )
    for layer in network.layers:
        forget = torch.sigmoid(layer.bias[640:960])
        assert 0.7 < forget.mean() < 0.76
        assert (torch.cat([layer.bias[:640], layer.bias[960:]]).abs() <= 0.1).all()


def test_learns_to_answer_with_what_it_heard_frames_ago():
    torch.manual_seed(0)
    network = Lstm(LstmConfig(layers=1, cells=32, projection=16), 4, 4)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(100):
        heard = torch.randint(4, (12, 32))
        logits, _ = network(functional.one_hot(heard, 4).float())
        loss = functional.cross_entropy(logits[3:].flatten(0, 1), heard[:-3].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5  # chance is 1.39


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layers": 0}, "'network.layers' is 0, expected an integer from 1 to 100"),
        ({"cells": 0}, "'network.cells' is 0"),
        ({"projection": 0}, "network.projection"),
        ({"cells": 64, "projection": 64}, r"expected less than network.cells \(64\).*null"),
        ({"cell_clip": -1.0}, "network.cell_clip"),
        ({"target_delay": -1}, "network.target_delay"),
        ({"peephole": True}, "did you mean 'peepholes'"),
    ],
)
def test_impossible_sizes(wrong, message):
    with pytest.raises(DktError, match=message):
        build(LstmConfig, wrong, "network")


def test_configuration_as_yaml_gives_it():
    config = build(LstmConfig, {"projection": None, "cell_clip": 0, "peepholes": False}, "network")
    assert config == LstmConfig(projection=None, cell_clip=0.0, peepholes=False)
    network = Lstm(config, 4, 5)
    assert {name.split(".")[-1] for name, _ in network.layers.named_parameters()} == {
        "w_gifo_x",
        "w_gifo_r",
        "bias",
    }
    assert network.output.in_features == config.cells
