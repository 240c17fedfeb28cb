"""The DNN and its model file."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from dkt.base.config import build
from dkt.base.errors import DktError
from dkt.nnet.dnn import Dnn, DnnConfig
from dkt.nnet.model_file import ModelInfo, build_network, fingerprint, load_model, save_model
from dkt.train import objectives


def small_info(**network):
    config = {"hidden_layers": 2, "hidden_dim": 8, **network}
    return ModelInfo("dnn", 3, 5, 1, 1, "--norm-vars=true", None, config)


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh"])
def test_normalised_input_has_zero_mean_and_unit_variance(activation):
    network = Dnn(DnnConfig(1, 4, activation), 3, 2)
    frames = (
        torch.randn(500, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 9.0, 0.1]) + 4
    )
    network.fit_normalisation(frames.split(64))
    normalised = (frames + network.shift) * network.scale
    torch.testing.assert_close(normalised.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.std(dim=0, correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_a_constant_dimension_does_not_explode():
    network = Dnn(DnnConfig(1, 4), 2, 2)
    network.fit_normalisation([torch.tensor([[1.0, 2.0], [1.0, 3.0]])])
    assert torch.isfinite(network(torch.tensor([[1.0, 2.0]]))).all()


def test_lda_is_applied_before_all_else_and_is_not_trained():
    lda = torch.tensor([[1.0, 2.0, 0.0, 0.5], [0.0, 1.0, -1.0, 0.0]])  # the last column is an offset
    network = Dnn(DnnConfig(1, 4), 3, 2, lda)
    frame = torch.tensor([[1.0, 1.0, 2.0]])
    plain = Dnn(DnnConfig(1, 4), 2, 2)
    own = {k: v for k, v in network.state_dict().items() if not k.startswith("lda")}
    plain.load_state_dict(own)
    torch.testing.assert_close(network(frame), plain(torch.tensor([[3.5, -1.0]])))
    assert not any(p.requires_grad for p in network.lda.parameters())
    with pytest.raises(DktError, match=r"shape \(2, 4\), the spliced features have dimension 7"):
        Dnn(DnnConfig(1, 4), 7, 2, lda)


@pytest.mark.parametrize("network", [{"batch_norm": True, "dropout": 0.5}, {"activation": "relu"}])
def test_a_frame_gets_the_same_score_in_any_batch(network):
    torch.manual_seed(0)
    dnn = build_network(small_info(**network))
    dnn(torch.randn(64, 9))  # moves the running statistics of batch normalisation
    dnn.eval()
    frames = torch.randn(20, 9)
    together = dnn(frames)
    for size in (1, 7):
        torch.testing.assert_close(
            torch.cat([dnn(x) for x in frames.split(size)]), together, atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("lda", [None, torch.randn(4, 9)])
def test_model_file_round_trip(tmp_path, lda):
    torch.manual_seed(0)
    info = small_info(batch_norm=True)
    network = build_network(info, None if lda is None else {"lda.weight": lda})
    save_model(tmp_path / "m.pt", info, network)
    back_info, back = load_model(tmp_path / "m.pt")
    assert back_info == info and not back.training
    assert fingerprint(back) == fingerprint(network)
    frames = torch.randn(3, 9)
    torch.testing.assert_close(back(frames), network.eval()(frames))
    torch.nn.init.constant_(network.output.bias, 0.1)
    assert fingerprint(back) != fingerprint(network)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a model file executed code",))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", pickle.dumps(Bomb()), pickle.dumps({"a": 1})])
def test_damaged_and_foreign_model_files(tmp_path, content):
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(DktError, match=r"m\.pt: (is|not)"):
        load_model(tmp_path / "m.pt")


def test_missing_model_file(tmp_path):
    with pytest.raises(DktError, match="does not exist"):
        load_model(tmp_path / "m.pt")


@pytest.mark.parametrize("wrong", [{"hidden_layers": 0}, {"dropout": 1.0}])
def test_impossible_sizes(wrong):
    with pytest.raises(DktError, match=f"'network.{next(iter(wrong))}' is"):
        build(DnnConfig, wrong, "network")


def test_hard_objective_is_the_summed_negative_log_posterior():
    logits = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([1, 0])
    posteriors = np.exp(logits.detach().numpy())
    posteriors /= posteriors.sum(axis=1, keepdims=True)
    expected = -np.log(posteriors[[0, 1], [1, 0]]).sum()
    assert objectives.hard(logits, labels).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda z: objectives.hard(z, labels), (logits,))
