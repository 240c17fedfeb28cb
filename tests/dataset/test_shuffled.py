"""Soft targets of other frames of the same label."""

from __future__ import annotations

import numpy as np
import torch

from dkt.dataset.shuffled import shuffle_targets
from dkt.dataset.utterances import Utterances, pack
from dkt.targets.soft_targets import top_k_targets

LENGTHS, P = (9, 14, 7), 4


def utterances() -> Utterances:
    """Three utterances, the labels 0 to 2 many times, 3 once; no two frames have the same targets."""
    generator = torch.Generator().manual_seed(1)
    labels = [torch.randint(3, (length,), generator=generator) for length in LENGTHS]
    labels[1][5] = 3
    targets = [
        top_k_targets(torch.randn(n, P, generator=generator).log_softmax(1), 2, (1.0,)) for n in LENGTHS
    ]
    return pack(["a", "b", "c"], [torch.randn(n, 5) for n in LENGTHS], labels, targets)


def all_rows(data: Utterances) -> tuple[np.ndarray, np.ndarray]:
    """Log-posteriors and pdfs of all frames, utterance by utterance."""
    assert data.targets is not None
    picked = [data.targets.select(data.rows_of(utterance)) for utterance in range(len(data.names))]
    return (
        np.concatenate([p.log_post.numpy() for p in picked]),
        np.concatenate([p.pdfs.numpy() for p in picked]),
    )


def test_every_frame_has_the_targets_of_another_of_its_label_each_used_once():
    data = utterances()
    own, own_pdfs = all_rows(data)
    shuffled, pdfs = all_rows(shuffle_targets(data, 5))
    place = [int(np.flatnonzero((own == row).all(axis=1))[0]) for row in shuffled]
    assert sorted(place) == list(range(sum(LENGTHS)))
    np.testing.assert_array_equal(data.labels[place], data.labels)
    np.testing.assert_array_equal(own_pdfs[place], pdfs)
    kept = [number for number, taken in enumerate(place) if number == taken]
    assert kept == [LENGTHS[0] + 5]


def test_the_seed_decides_and_the_original_stays():
    data = utterances()
    before, _ = all_rows(data)
    first, again, other = (all_rows(shuffle_targets(data, seed))[0] for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(all_rows(data)[0], before)


def test_a_subset_reads_the_same_rows():
    data = shuffle_targets(utterances(), 5)
    part = data.subset([2, 0])
    assert part.targets is not None and data.targets is not None
    for number, whole in enumerate((2, 0)):
        torch.testing.assert_close(
            part.targets.select(part.rows_of(number)).log_post,
            data.targets.select(data.rows_of(whole)).log_post,
        )
