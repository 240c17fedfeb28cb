"""Matrix products by either library, in single and in mixed precision."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from dkt.base.errors import DktError
from dkt.nnet import products
from dkt.nnet.dnn import Dnn, DnnConfig
from dkt.nnet.lstm import Lstm, LstmConfig
from dkt.nnet.products import Linear, product
from dkt.train.loop import LoopConfig
from dkt.train.precision import mixed_precision

CPU = torch.device("cpu")


@pytest.fixture(params=["onednn", "pytorch"])
def library(request, monkeypatch):
    """Both products, whatever this processor would choose."""
    operator = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if request.param == "onednn" and (operator is None or not torch.backends.mkldnn.is_available()):
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setattr(products, "_onednn", lambda: operator if request.param == "onednn" else None)


@pytest.mark.parametrize("transposed", [(False, False), (False, True), (True, False), (True, True)])
def test_products_of_any_layout(library, transposed):
    torch.manual_seed(0)
    shapes = [(37, 19), (23, 19)]
    left, right = (
        torch.randn(shape[::-1]).t() if flip else torch.randn(shape)
        for shape, flip in zip(shapes, transposed, strict=True)
    )
    bias = torch.randn(23)
    expected = left.double() @ right.double().t()
    torch.testing.assert_close(product(left, right).double(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(product(left, right, bias).double(), expected + bias, atol=1e-5, rtol=1e-5)
    assert product(left[:0], right).shape == (0, 23)


@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 7)])
def test_the_layer_is_pytorchs_with_its_gradients(library, shape):
    torch.manual_seed(0)
    layer = Linear(7, 6)
    inputs = torch.randn(shape, requires_grad=True)
    weigh = torch.randn(*shape[:-1], 6)
    leaves = [inputs, layer.weight, layer.bias]
    outputs = layer(inputs)
    expected = functional.linear(inputs, layer.weight, layer.bias)
    torch.testing.assert_close(outputs, expected)
    ours, theirs = (torch.autograd.grad((value * weigh).sum(), leaves) for value in (outputs, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def gradients(network, features, precision):
    with mixed_precision(precision, CPU)():
        outputs = network(features)
    logits = (outputs[0] if isinstance(outputs, tuple) else outputs).float()
    weigh = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    return logits, torch.autograd.grad((logits * weigh).sum(), list(network.parameters()))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (lambda: Dnn(DnnConfig(hidden_layers=2, hidden_dim=40), 30, 50), (64, 30)),
        (lambda: Lstm(LstmConfig(cells=40, projection=20), 30, 50), (9, 8, 30)),
        (
            lambda: Lstm(LstmConfig(cells=40, projection=None, peepholes=False, cell_clip=0.0), 30, 50),
            (9, 8, 30),
        ),
    ],
    ids=["dnn", "lstm", "lstm-bare"],
)
def test_mixed_precision_rounds_products_a_little(network, shape):
    torch.manual_seed(0)
    network = network()
    features = torch.randn(shape)
    exact, exact_gradients = gradients(network, features, "float32")
    rounded, rounded_gradients = gradients(network, features, "bfloat16")
    error = (rounded - exact).norm() / exact.norm()
    assert 1e-5 < error < 2e-2
    for ours, theirs in zip(rounded_gradients, exact_gradients, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 3e-2 * theirs.norm()


def test_mixed_precision_is_off_unless_asked_for():
    assert LoopConfig().precision == "float32"
    with mixed_precision("float32", CPU)():
        assert not torch.is_autocast_enabled("cpu")
    with pytest.raises(DktError, match=r"precision"):
        from dkt.base.config import build

        build(LoopConfig, {"precision": "float16"}, "training")
