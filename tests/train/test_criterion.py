"""The criterion of each mode: which objective, what it reports, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

from dkt.base.config import build
from dkt.base.errors import DktError
from dkt.targets.soft_targets import SoftTargets, top_k_targets
from dkt.train import objectives
from dkt.train.criterion import Frames, make_criterion
from dkt.train.modes import ObjectiveConfig

B, P = 6, 8


@pytest.fixture
def frames():
    """Logits of a student, labels of which the teacher knows half, log-posteriors of that teacher."""
    generator = torch.Generator().manual_seed(2)
    log_post = torch.log_softmax(2.0 * torch.randn(B, P, generator=generator), dim=1)
    labels = log_post.argmax(dim=1)
    labels[::2] = (labels[::2] + 1) % P
    return torch.randn(B, P, generator=generator), labels, log_post


def value(frames, targets: SoftTargets | None, **config):
    logits, labels, _ = frames
    return make_criterion(ObjectiveConfig(**config))(Frames(logits, labels, targets))


def test_each_mode_is_its_objective(frames):
    logits, labels, log_post = frames
    targets = top_k_targets(log_post, 3, (1.0, 2.0))
    soft = objectives.soft(logits, targets.pdfs, targets.log_post, targets.tail(2.0), 2.0)
    hard = objectives.hard(logits, labels)
    conditional = objectives.conditional(
        logits, labels, targets.pdfs, targets.log_post, targets.tail(2.0), 2.0
    )
    dense = top_k_targets(log_post, None, ())
    for config, given, expected in [
        ({"mode": "hard"}, None, hard),
        ({"mode": "soft", "temperature": 2.0}, targets, soft),
        (
            {"mode": "interpolate", "temperature": 2.0, "soft_weight": 0.3},
            targets,
            0.3 * 4.0 * soft + 0.7 * hard,
        ),
        ({"mode": "conditional", "temperature": 2.0}, targets, conditional),
        ({"mode": "teacher_labels"}, targets, objectives.hard(logits, log_post.argmax(dim=1))),
        ({"mode": "logits"}, dense, objectives.logit_matching(logits, log_post)),
        ({"mode": "smooth", "smoothing": 0.2}, None, objectives.smooth(logits, labels, 0.2)),
    ]:
        torch.testing.assert_close(value(frames, given, **config).objective, expected)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("mode", ["soft", "interpolate", "conditional", "logits"])
def test_a_student_that_equals_its_teacher_reports_what_labels_cost_only(frames, mode, temperature):
    _, labels, log_post = frames
    targets = top_k_targets(log_post, None if mode == "logits" else 3, (1.0, 2.0))
    config = {"mode": mode, "temperature": temperature, "soft_weight": 0.25}
    loss = value((log_post, labels, log_post), targets, **config)
    hard = -log_post.gather(1, labels[:, None]).squeeze(1)
    wrong = log_post.argmax(dim=1) != labels
    expected = {"interpolate": 0.75 * hard.sum(), "conditional": hard[wrong].sum()}.get(
        mode, torch.tensor(0.0)
    )
    assert loss.reported.item() == pytest.approx(expected.item(), abs=1e-4)


def test_hard_reports_the_cross_entropy_and_smooth_is_zero_at_its_own_distribution(frames):
    _, labels, _ = frames
    loss = value(frames, None, mode="hard")
    assert loss.reported == loss.objective
    smoothed = torch.full((B, P), 0.2 / P).scatter(1, labels[:, None], 0.8 + 0.2 / P)
    best = value((smoothed.log(), labels, None), None, mode="smooth", smoothing=0.2)
    assert best.reported.item() == pytest.approx(0.0, abs=1e-5)
    assert value(frames, None, mode="smooth", smoothing=0.0).reported == pytest.approx(
        float(objectives.hard(frames[0], labels))
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"temperature": 0.0}, "'objective.temperature' is 0.0, expected a number from 0.01 to 1000"),
        ({"temperature": -2.0}, "'objective.temperature' is -2.0"),
        ({"temperature": math.nan}, "'objective.temperature' is nan"),
        ({"soft_weight": 1.5}, "'objective.soft_weight' is 1.5, expected a number from 0 to 1"),
        ({"soft_weight": -0.1}, "'objective.soft_weight' is -0.1"),
        ({"smoothing": 1.0}, "'objective.smoothing' is 1.0"),
    ],
)
def test_values_out_of_range(config, message):
    with pytest.raises(DktError, match=message):
        build(ObjectiveConfig, config, "objective")


def test_targets_that_do_not_serve_the_mode():
    kept, every = (False, (1.0, 2.0), "soft"), (True, (), "soft")
    ObjectiveConfig("soft", 2.0).check_targets(*kept)
    with pytest.raises(DktError, match=r"no tail at temperature 3, but at 1 2 - .*--top-k all"):
        ObjectiveConfig("interpolate", 3.0).check_targets(*kept)
    with pytest.raises(DktError, match="logit matching needs the logits of all pdfs"):
        ObjectiveConfig("logits").check_targets(*kept)
    ObjectiveConfig("logits").check_targets(*every)
    ObjectiveConfig("soft", 3.0).check_targets(*every)
