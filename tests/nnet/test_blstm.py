"""The bidirectional LSTM: both directions, padding that changes nothing, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from dkt.base.config import build
from dkt.base.errors import DktError
from dkt.dataset.sequences import Chunks, WholeUtterances
from dkt.dataset.utterances import pack
from dkt.nnet.blstm import Blstm, BlstmConfig
from dkt.nnet.lstm_layer import PlainLstmLayer
from dkt.nnet.nnet1.components import LstmComponent, LstmWeights
from dkt.nnet.nnet1.network import Nnet1
from dkt.nnet.torch_lstm import Clips

LENGTHS = [31, 12, 30, 7, 1, 40]
F, P = 5, 4


@pytest.fixture
def network():
    torch.manual_seed(3)
    network = Blstm(BlstmConfig(layers=2, cells=9, projection=6), F, P)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(4.0)
    return network.eval()


@pytest.fixture
def utterances():
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(length, F, generator=generator) for length in LENGTHS]
    labels = [torch.randint(P, (length,), generator=generator) for length in LENGTHS]
    return pack([f"u{number}" for number in range(len(LENGTHS))], features, labels)


def alone(network, utterances):
    """The logits of all frames, each utterance by itself."""
    with torch.no_grad():
        return torch.cat(
            [
                network.of_utterance(torch.from_numpy(utterances.features_of(u)), 0, 0, 0)
                for u in range(len(LENGTHS))
            ]
        )


@pytest.mark.parametrize(("projection", "peepholes"), [(6, True), (None, False)])
def test_one_layer_is_two_lstms_of_which_one_begins_at_the_end(projection, peepholes):
    torch.manual_seed(1)
    config = BlstmConfig(layers=1, cells=9, projection=projection, peepholes=peepholes)
    network = Blstm(config, F, P).eval()
    features = torch.randn(17, 1, F)
    outputs = []
    for layer, inputs in ((network.layers[0].ahead, features), (network.layers[0].back, features.flip(0))):
        plain = PlainLstmLayer(F, 9, projection, peepholes, Clips(config.cell_clip))
        plain.load_state_dict(layer.state_dict())
        outputs.append(plain(inputs, plain.zero_state(1))[0])
    expected = network.output(torch.cat([outputs[0], outputs[1].flip(0)], dim=2))
    torch.testing.assert_close(network(features)[0], expected)


def test_a_layer_is_that_of_kaldis_nnet1():
    torch.manual_seed(1)
    network = Blstm(BlstmConfig(layers=1, cells=9, projection=6), F, P).eval()
    layer = network.layers[0]
    directions = tuple(
        LstmWeights(**{name: value.numpy() for name, value in one.state_dict().items()})
        for one in (layer.ahead, layer.back)
    )
    component = LstmComponent("<BlstmProjected>", F, 12, directions=directions, cell_clip=50.0)
    frames = torch.randn(23, F)
    ours = []
    layer.register_forward_hook(lambda module, inputs, outputs: ours.append(outputs))
    with torch.no_grad():
        network.of_utterance(frames, 0, 0, 0)
    torch.testing.assert_close(ours[0][:, 0], Nnet1([component], "x")(frames.numpy()).clone())


def test_every_frame_sees_both_ends(network):
    features = torch.randn(20, 1, F, requires_grad=True)
    logits, _ = network(features)
    for frame in (0, 10, 19):
        (gradient,) = torch.autograd.grad(logits[frame].sum(), features, retain_graph=True)
        assert gradient.flatten(1).abs().sum(1).gt(0).all()


def test_padding_changes_nothing(network, utterances):
    expected = alone(network, utterances)
    # All in one batch, most of it padding.
    pieces = [piece for batch in WholeUtterances(utterances, 0, 1)._plan(None) for piece in batch]
    batch = WholeUtterances(utterances, 0, 10_000).gather(pieces)
    assert batch.inputs.mask.shape == (40, 6)
    with torch.no_grad():
        torch.testing.assert_close(network.runner(0)(batch.inputs), expected[batch.frames])
        # Whatever stands there.
        padding = ~batch.inputs.mask
        batch.inputs.features[padding] = 1e3
        torch.testing.assert_close(network.runner(0)(batch.inputs), expected[batch.frames])


def test_chunks_that_see_all_are_whole_utterances_and_shorter_ones_come_near(network, utterances):
    expected = alone(network, utterances)

    def furthest(context):
        with torch.no_grad():
            return max(
                float((network.runner(0)(batch.inputs) - expected[batch.frames]).abs().max())
                for batch in Chunks(utterances, 0, 4, 10, context, context).shuffled(1)
            )

    assert furthest(100) < 1e-5
    assert furthest(100) < furthest(12) < furthest(3) < furthest(0)


def test_nothing_is_carried(network, utterances):
    with pytest.raises(DktError, match="no state can be carried on: a blstm sees an utterance from its end"):
        network.runner(4)
    with pytest.raises(DktError, match="no state can be carried on"):
        network(torch.randn(3, 1, F), [()])
    with pytest.raises(DktError, match=r"'network.projection' is 256, expected less than"):
        build(BlstmConfig, {"projection": 256}, "network")
