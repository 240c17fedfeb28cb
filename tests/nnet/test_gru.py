"""The GRU: its equations, its state from chunk to chunk, its target delay."""

from __future__ import annotations

import pytest
import torch

from dkt.dataset.sequences import Streams
from dkt.dataset.utterances import pack
from dkt.nnet.gru import Gru, GruConfig

F, P, DELAY = 5, 4, 3


@pytest.fixture
def network():
    torch.manual_seed(3)
    network = Gru(GruConfig(layers=2, units=7, target_delay=DELAY), F, P)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3.0)
    return network.eval()


def test_one_layer_is_the_equations():
    """r, z and n of Cho et al. (2014), the reset gate after the product of the recurrence."""
    torch.manual_seed(1)
    network = Gru(GruConfig(layers=1, units=6, target_delay=0), F, P).eval()
    gru = network.layers[0].gru
    w_r, w_z, w_n = gru.weight_ih_l0.chunk(3)
    u_r, u_z, u_n = gru.weight_hh_l0.chunk(3)
    b_r, b_z, b_n = gru.bias_ih_l0.chunk(3)
    c_r, c_z, c_n = gru.bias_hh_l0.chunk(3)
    frames = torch.randn(11, F)
    h, outputs = torch.zeros(6), []
    for x in frames:
        r = torch.sigmoid(w_r @ x + b_r + u_r @ h + c_r)
        z = torch.sigmoid(w_z @ x + b_z + u_z @ h + c_z)
        n = torch.tanh(w_n @ x + b_n + r * (u_n @ h + c_n))
        h = (1 - z) * n + z * h
        outputs.append(h)
    torch.testing.assert_close(network.of_utterance(frames, 0, 0, 0), network.output(torch.stack(outputs)))


def test_chunks_of_carried_streams_are_the_whole_utterances(network):
    generator = torch.Generator().manual_seed(0)
    lengths = [31, 12, 30, 7, 1, 40]
    features = [torch.randn(length, F, generator=generator) for length in lengths]
    data = pack([f"u{n}" for n in range(6)], features, [torch.zeros(n, dtype=torch.int64) for n in lengths])
    streams = Streams(data, DELAY, 2, 8)
    found = torch.full((sum(lengths), P), float("nan"))
    run = network.runner(streams.num_states)
    with torch.no_grad():
        for batch in streams.shuffled(1):
            found[batch.frames] = run(batch.inputs)
        expected = torch.cat([network.of_utterance(frames, 0, 0, 0) for frames in features])
    torch.testing.assert_close(found, expected)


def test_it_sees_its_delay_beyond_a_frame_and_no_further(network):
    frames = torch.randn(20, F, requires_grad=True)
    logits = network.of_utterance(frames, 0, 0, 0)
    (gradient,) = torch.autograd.grad(logits[5].sum(), frames)
    assert gradient.abs().sum(1).nonzero().flatten().tolist() == list(range(DELAY, 5 + DELAY + 1))


def test_mixed_precision_is_of_the_products_around_the_recurrence(network):
    frames = torch.randn(20, 3, F)
    with torch.autocast("cpu", torch.bfloat16):
        logits, state = network(frames)
    assert all(hidden.dtype == torch.float32 for (hidden,) in state)
    torch.testing.assert_close(logits.float(), network(frames)[0], atol=0.1, rtol=0.1)
