"""The objectives: against finite differences, against each other and against their limits."""

from __future__ import annotations

import math

import pytest
import torch

from dkt.train import objectives

B, P = 5, 7


@pytest.fixture
def frames():
    """Logits of student and teacher and labels, in double precision."""
    generator = torch.Generator().manual_seed(4)
    student = torch.randn(B, P, generator=generator, dtype=torch.float64)
    teacher = 2.0 * torch.randn(B, P, generator=generator, dtype=torch.float64)
    return student, teacher, torch.randint(P, (B,), generator=generator)


def kept(teacher, k, temperature):
    """The k largest log-posteriors, their pdfs and the tail at a temperature, the plain way."""
    log_post = torch.log_softmax(teacher, dim=1)
    values, pdfs = log_post.topk(k, dim=1)
    rest = log_post.scatter(1, pdfs, -torch.inf)
    return pdfs, values, torch.logsumexp(rest / temperature, dim=1)


def dense_soft(student, teacher, temperature):
    q = torch.softmax(teacher / temperature, dim=1)
    return -(q * torch.log_softmax(student / temperature, dim=1)).sum()


def gradient(function, logits):
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(function(logits), logits)[0]


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_all_classes_kept_equals_the_dense_formula(frames, temperature):
    student, teacher, _ = frames
    ours = objectives.soft(student, *kept(teacher, P, temperature), temperature)
    torch.testing.assert_close(ours, dense_soft(student, teacher, temperature))
    entropy = objectives.soft_entropy(*kept(teacher, P, temperature)[1:], temperature)
    torch.testing.assert_close(entropy, dense_soft(teacher, teacher, temperature))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_tail_is_one_class_on_both_sides(frames, temperature):
    student, teacher, _ = frames
    pdfs, values, tail = kept(teacher, 3, temperature)
    q, p = torch.softmax(teacher / temperature, dim=1), torch.softmax(student / temperature, dim=1)
    expected = 0.0
    for b in range(B):
        chosen = pdfs[b].tolist()
        others = [i for i in range(P) if i not in chosen]
        expected -= sum(float(q[b, i]) * math.log(p[b, i]) for i in chosen)
        expected -= float(q[b, others].sum()) * math.log(p[b, others].sum())
    ours = objectives.soft(student, pdfs, values, tail, temperature)
    assert ours.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_gradient_of_soft_is_the_difference_of_posteriors_over_t(frames, temperature):
    student, teacher, _ = frames
    ours = gradient(lambda z: objectives.soft(z, *kept(teacher, P, temperature), temperature), student)
    difference = torch.softmax(student / temperature, 1) - torch.softmax(teacher / temperature, 1)
    torch.testing.assert_close(ours, difference / temperature)


@pytest.mark.parametrize("k", [1, 3, P])
def test_finite_differences(frames, k):
    student, teacher, labels = frames
    student = student.requires_grad_()
    targets = kept(teacher, k, 2.0)
    for function in (
        lambda z: objectives.soft(z, *targets, 2.0),
        lambda z: objectives.conditional(z, labels, *targets, 2.0),
        lambda z: objectives.logit_matching(z, teacher),
        lambda z: objectives.smooth(z, labels, 0.1),
        lambda z: objectives.interpolated(
            objectives.hard(z, labels), objectives.soft(z, *targets, 2.0), 0.3, 2.0
        ),
    ):
        assert torch.autograd.gradcheck(function, (student,))


def test_a_one_hot_teacher_at_t_1_is_the_hard_objective(frames):
    student, _, labels = frames
    one_hot = torch.full((B, P), -torch.inf, dtype=torch.float64).scatter(1, labels[:, None], 0.0)
    nothing = torch.full((B,), -torch.inf, dtype=torch.float64)
    expected = objectives.hard(student, labels)
    every = torch.arange(P).expand(B, P)
    torch.testing.assert_close(objectives.soft(student, every, one_hot, nothing, 1.0), expected)
    zero = torch.zeros(B, 1, dtype=torch.float64)
    torch.testing.assert_close(objectives.soft(student, labels[:, None], zero, nothing, 1.0), expected)
    wide = gradient(lambda z: objectives.soft(z, every, one_hot, nothing, 1.0), student)
    assert torch.isfinite(wide).all()


def test_large_temperature_tends_to_logit_matching(frames):
    student, teacher, _ = frames
    temperature = 1e4
    soft = gradient(lambda z: objectives.soft(z, *kept(teacher, P, temperature), temperature), student)
    matching = gradient(lambda z: objectives.logit_matching(z, teacher), student)
    torch.testing.assert_close(temperature**2 * soft, matching / P, rtol=1e-3, atol=1e-4)


def test_logit_matching_ignores_a_constant_a_frame(frames):
    student, teacher, _ = frames
    shifted = teacher + torch.arange(B, dtype=torch.float64)[:, None]
    expected = objectives.logit_matching(student, teacher)
    torch.testing.assert_close(objectives.logit_matching(student, shifted), expected)
    torch.testing.assert_close(objectives.logit_matching(student, torch.log_softmax(teacher, 1)), expected)
    assert objectives.logit_matching(teacher, shifted).item() == pytest.approx(0.0, abs=1e-20)


def test_mixture_at_its_ends(frames):
    student, teacher, labels = frames
    one, other = objectives.hard(student, labels), objectives.soft(student, *kept(teacher, P, 2.0), 2.0)
    torch.testing.assert_close(objectives.interpolated(one, other, 0.0, 2.0), one)
    torch.testing.assert_close(objectives.interpolated(one, other, 1.0, 2.0), 4.0 * other)


def test_conditional_listens_to_a_teacher_that_is_right(frames):
    student, teacher, _ = frames
    best = teacher.argmax(dim=1)
    targets = kept(teacher, 3, 2.0)
    wrong = (best + 1) % P
    torch.testing.assert_close(
        objectives.conditional(student, best, *targets, 2.0), 4.0 * objectives.soft(student, *targets, 2.0)
    )
    torch.testing.assert_close(
        objectives.conditional(student, wrong, *targets, 2.0), objectives.hard(student, wrong)
    )
    mixed = torch.cat([best[:2], wrong[2:]])
    first = objectives.soft(student[:2], *(t[:2] for t in targets), 2.0)
    expected = 4.0 * first + objectives.hard(student[2:], wrong[2:])
    torch.testing.assert_close(objectives.conditional(student, mixed, *targets, 2.0), expected)


def test_smoothing_is_a_mixture_with_the_uniform_distribution(frames):
    student, _, labels = frames
    uniform = -torch.log_softmax(student, dim=1).mean(dim=1).sum()
    expected = 0.9 * objectives.hard(student, labels) + 0.1 * uniform
    torch.testing.assert_close(objectives.smooth(student, labels, 0.1), expected)


def test_a_tiny_tail_keeps_its_gradient_in_single_precision():
    student = torch.tensor([[30.0, 0.0, -1.0, -2.0]])
    teacher = torch.tensor([[30.0, 0.0, -1.0, -2.0]])
    grad = gradient(lambda z: objectives.soft(z, *kept(teacher, 1, 1.0), 1.0), student)
    assert torch.isfinite(grad).all()
    assert grad.abs().max() < 1e-6
