"""Training on sequences: no padding in the loss, no state across utterances, targets on their own frames."""

from __future__ import annotations

import pytest
import torch

from dkt.dataset.sequences import Piece, Streams, WholeUtterances
from dkt.dataset.utterances import pack
from dkt.nnet.lstm import Lstm, LstmConfig
from dkt.nnet.network import delayed
from dkt.targets.soft_targets import top_k_targets
from dkt.train.criterion import Frames, make_criterion
from dkt.train.modes import ObjectiveConfig
from dkt.train.optimizer import OptimizerConfig
from dkt.train.recipes import BatchConfig
from dkt.train.trainer import Trainer

F, P, DELAY = 4, 5, 2
CPU = torch.device("cpu")
LENGTHS = [7, 31, 12, 30, 29, 1, 11, 40, 8, 6]


@pytest.fixture
def utterances():
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(length, F, generator=generator) for length in LENGTHS]
    labels = [torch.randint(P, (length,), generator=generator) for length in LENGTHS]
    # A teacher that can be learnt from the features.
    weights = torch.randn(F, P, generator=generator)
    log_post = [torch.log_softmax(3.0 * frames @ weights, dim=1) for frames in features]
    targets = [top_k_targets(x, 2, (1.0, 2.0)) for x in log_post]
    return pack([f"u{number}" for number in range(len(LENGTHS))], features, labels, targets)


@pytest.fixture
def network():
    torch.manual_seed(1)
    network = Lstm(LstmConfig(layers=2, cells=6, projection=4, target_delay=DELAY), F, P)
    with torch.no_grad():
        # A state that matters: what is carried over by mistake shows in the loss.
        for parameter in network.parameters():
            parameter.mul_(4.0)
    return network


def training(network, utterances, mode="soft", optimizer=None, **batches):
    config = BatchConfig(**batches)
    if config.kind == "streams":
        made = Streams(utterances, DELAY, config.num_streams, config.chunk, CPU)
    else:
        made = WholeUtterances(utterances, DELAY, config.frames_per_batch, CPU)
    held = {
        name: WholeUtterances(data, DELAY, 8192, CPU)
        for name, data in (("train", utterances), ("cv", utterances.subset([1])))
    }
    objective = ObjectiveConfig(mode, 2.0)
    optimizer = optimizer or OptimizerConfig("adam")
    return Trainer(network, made, held, objective, optimizer, config.frames_per_update, CPU)


def loss_one_by_one(network, utterances, mode):
    """The mean loss a frame and the accuracy in percent, each utterance alone, without any batch."""
    criterion = make_criterion(ObjectiveConfig(mode, 2.0))
    loss = correct = 0.0
    for begin, end in zip(utterances.offsets[:-1], utterances.offsets[1:], strict=True):
        rows = slice(int(begin), int(end))
        features = torch.from_numpy(utterances.features.matrix[rows])
        logits = network(delayed(features, DELAY)[:, None])[0][:, 0]
        labels = torch.from_numpy(utterances.labels[rows]).long()
        loss += float(criterion(Frames(logits, labels, utterances.targets.select(rows))).reported)
        correct += float((logits.argmax(1) == labels).sum())
    return loss / utterances.num_frames, 100.0 * correct / utterances.num_frames


BATCHES = [
    {"kind": "streams", "num_streams": 3, "chunk": 5},
    {"kind": "streams", "num_streams": 4, "chunk": 20},
    {"kind": "streams", "num_streams": 1, "chunk": 3},
    {"kind": "utterances", "frames_per_batch": 130},
    {"kind": "utterances", "frames_per_batch": 10},
]


@pytest.mark.parametrize("mode", ["hard", "soft"])
@pytest.mark.parametrize("batches", BATCHES)
def test_training_sees_the_loss_of_each_utterance_alone(network, utterances, batches, mode):
    task = training(network, utterances, mode, **batches)
    loss, accuracy = loss_one_by_one(network, utterances, mode)
    # At rate 0 the weights stay: loss on padding, a state that is not reset or not carried, or targets of
    # other frames would all show.
    running = task.train_epoch(0.0, seed=3)
    evaluated = task.evaluate("train")
    for metrics in (running, evaluated):
        assert metrics.num_frames == utterances.num_frames
        assert metrics.loss == pytest.approx(loss, rel=1e-5)
        assert metrics.accuracy == pytest.approx(accuracy, abs=1e-6)
    assert task.evaluate("cv").num_frames == LENGTHS[1]


@pytest.mark.parametrize("batches", BATCHES[:1] + BATCHES[3:4])
def test_the_loss_falls(network, utterances, batches):
    task = training(network, utterances, **batches)
    before = task.evaluate("train").loss
    for epoch in range(60):
        task.train_epoch(0.02, seed=epoch)
    # After some twenty epochs the last bits decide how far: to 0.60 or 0.71 times.
    assert task.evaluate("train").loss < 0.8 * before


def test_padding_has_no_gradient(network, utterances):
    """Utterances in one padded batch move the weights as the sum of each alone does."""
    task = training(network, utterances)
    pieces = [Piece(0, 7, 0, 40), Piece(1, 1, 0, 31), Piece(2, 9, 0, 6)]
    gradients = []
    for chosen in (pieces, *([piece] for piece in pieces)):
        batch = task.batches.gather(chosen)
        loss, _ = task.loss(network.runner(0), make_criterion(task.objective), batch)
        gradients.append(torch.autograd.grad(loss.objective, list(network.parameters())))
    for together, *alone in zip(*gradients, strict=True):
        torch.testing.assert_close(together, sum(alone), rtol=1e-4, atol=1e-5)


def test_the_share_of_clipped_gradients_is_counted_and_their_norm_is_limited(network, utterances):
    def moved(limit):
        weights = [p.detach().clone() for p in network.parameters()]
        optimizer = OptimizerConfig("sgd", max_grad_norm=limit)
        task = training(network, utterances, "hard", optimizer, kind="utterances", frames_per_batch=10_000)
        metrics = task.train_epoch(1.0, seed=1)
        steps = [b - a for a, b in zip(weights, network.parameters(), strict=True)]
        length = torch.cat([s.detach().flatten() for s in steps]).norm()
        with torch.no_grad():
            for parameter, weight in zip(network.parameters(), weights, strict=True):
                parameter.copy_(weight)
        return metrics, float(length)

    free, far = moved(0.0)
    assert free.clipped == 0.0
    limited, near = moved(1e-4)
    # Batches have different lengths; each moves the weights by at most the limit times its frames.
    assert limited.clipped == 100.0 and limited.num_updates > 1
    assert near <= 1e-4 * utterances.num_frames * 1.001 < far


def test_the_same_seed_gives_the_same_weights(utterances):
    def trained(seed):
        torch.manual_seed(1)
        config = LstmConfig(layers=2, cells=6, projection=None, target_delay=DELAY, dropout=0.3)
        network = Lstm(config, F, P)
        training(network, utterances, num_streams=3, chunk=5).train_epoch(0.01, seed)
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))
