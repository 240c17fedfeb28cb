"""How gradients become updates: limits on their norm and on their elements."""

from __future__ import annotations

import pytest
import torch

from dkt.base.config import build
from dkt.base.errors import DktError
from dkt.train.optimizer import OptimizerConfig, Updates


def moved(config: OptimizerConfig, gradient: list[float], num_frames: int = 10) -> tuple[list[float], bool]:
    """How far an update of rate 1 moves weights from zero, and whether it counts as scaled down."""
    network = torch.nn.Linear(len(gradient), 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    updates = Updates(network, config, num_frames)
    updates.set_learn_rate(1.0)
    clipped = updates.apply((network.weight * torch.tensor([gradient])).sum(), num_frames)
    return network.weight[0].tolist(), clipped


def test_elements_are_clipped_as_in_nnet1():
    assert moved(OptimizerConfig("sgd", grad_clip=2.0), [3.0, -5.0, 1.0]) == ([-2.0, 2.0, -1.0], False)
    assert moved(OptimizerConfig("sgd"), [3.0, -5.0, 1.0]) == ([-3.0, 5.0, -1.0], False)


def test_the_norm_is_of_a_frame_and_of_what_clipping_left():
    weights, clipped = moved(OptimizerConfig("sgd", max_grad_norm=0.5), [6.0, 8.0])
    assert clipped and weights == pytest.approx([-3.0, -4.0], rel=1e-5)
    assert moved(OptimizerConfig("sgd", max_grad_norm=0.5, grad_clip=3.0), [6.0, 8.0]) == (
        [-3.0, -3.0],
        False,
    )


@pytest.mark.parametrize("name", ["l2_penalty", "max_grad_norm", "grad_clip", "momentum"])
def test_values_below_zero_are_refused(name):
    with pytest.raises(DktError, match=f"optimizer.{name}"):
        build(OptimizerConfig, {name: -0.1}, "optimizer")
