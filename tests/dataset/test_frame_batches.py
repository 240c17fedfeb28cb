"""Shuffled frames: pools of whole utterances, every frame once, by the seed alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from dkt.dataset.frames import SplicedFrames, pools
from dkt.dataset.gather import Gatherer
from dkt.dataset.utterances import pack
from dkt.feat.functions import splice

CPU = torch.device("cpu")


def numbered(lengths, dim=3):
    """Utterances whose label is the number of the frame."""
    total = sum(lengths)
    features = torch.randn(total, dim, generator=torch.Generator().manual_seed(1)).split(lengths)
    labels = torch.arange(total).split(lengths)
    return pack([f"u{i}" for i in range(len(lengths))], list(features), list(labels))


@pytest.mark.parametrize(
    ("lengths", "limit"),
    [([10] * 100, 250), ([10] * 100, 95), ([1000, 1, 1, 1, 2], 20), ([3], 1), ([0, 5, 0, 7], 100)],
)
def test_pools_keep_the_order_and_the_limit_and_are_of_about_equal_size(lengths, limit):
    order = np.random.default_rng(1).permutation(len(lengths))
    own = np.array(lengths)
    found = pools(own, order, limit)
    assert np.concatenate(found).tolist() == order.tolist()
    sizes = [int(own[pool].sum()) for pool in found]
    assert all(size <= limit or len(pool) == 1 for size, pool in zip(sizes, found, strict=True))
    if max(lengths) == min(lengths):
        assert max(sizes) - min(sizes) <= max(lengths)
        assert len(found) == -(-len(lengths) // max(1, limit // max(lengths)))


def test_one_long_utterance_does_not_break_up_the_others():
    lengths = np.array([5000, *[10] * 500])
    found = pools(lengths, np.arange(501), 1000)
    assert len(found[0]) == 1 and len(found) <= 12


def test_every_frame_once_mixed_within_its_pool_only():
    lengths = [7, 30, 0, 12, 1, 25, 40, 9] * 5
    data = numbered(lengths)
    frames = SplicedFrames(data, 1, 1, 8, CPU, pool_frames=200)
    labels = torch.cat([batch.labels for batch in frames.shuffled(5)]).numpy()
    assert sorted(labels) == list(range(sum(lengths)))
    utterances = np.searchsorted(data.offsets, labels, side="right") - 1
    # Cut where the pools are: in each all frames of some utterances.
    seen: set[int] = set()
    sizes = []
    for pool in _pools_of(utterances, lengths):
        assert seen.isdisjoint(pool)
        seen |= set(pool)
        sizes.append(len(pool))
    assert len(sizes) >= 4 and max(sizes) <= 200
    # Neighbours are seldom of one utterance.
    assert np.mean(utterances[1:] == utterances[:-1]) < 0.5


def _pools_of(utterances, lengths):
    """The shortest runs that hold whole utterances only."""
    run, missing = [], {}
    for utterance in utterances.tolist():
        run.append(utterance)
        missing[utterance] = missing.get(utterance, lengths[utterance]) - 1
        if not any(missing.values()):
            yield run
            run, missing = [], {}


def test_a_batch_is_full_but_for_the_last_of_a_pool():
    data = numbered([10] * 30)
    sizes = [len(x.labels) for x in SplicedFrames(data, 0, 0, 16, CPU, pool_frames=100).shuffled(1)]
    assert sizes == [16] * 6 + [4] + [16] * 6 + [4] + [16] * 6 + [4]
    assert [len(batch.labels) for batch in SplicedFrames(data, 0, 0, 16, CPU)] == [16] * 18 + [12]


@pytest.mark.parametrize("ivector_dim", [0, 2])
def test_the_frames_of_a_subset_have_their_own_features_and_labels(ivector_dim):
    data = numbered([4, 9, 0, 6, 3], dim=5)
    part = data.subset([3, 1])
    assert part.features is data.features and part.labels is data.labels, "nothing is copied"
    assert part.num_frames == 15 and part.names == ["u3", "u1"]
    batches = list(SplicedFrames(part, 2, 1, 4, CPU, ivector_dim))
    found = [
        torch.cat([getattr(batch, name) for batch in batches]) for name in ("inputs", "labels", "frames")
    ]
    acoustic = 5 - ivector_dim
    pieces = [data.features_of(i) for i in (3, 1)]
    expected = [np.hstack([splice(x[:, :acoustic], 2, 1), x[:, acoustic:]]) for x in pieces]
    np.testing.assert_array_equal(found[0].numpy(), np.concatenate(expected))
    assert found[1].tolist() == [*range(13, 19), *range(4, 13)]
    assert found[2].tolist() == list(range(15))


def test_runs_and_blocks_go_through_all_frames_in_order():
    data = numbered([4, 0, 9, 6, 0, 1])
    for size in (1, 5, 7, 100):
        spans = [
            (data.offsets[chosen[0]] + a, data.offsets[chosen[0]] + b) for chosen, a, b in data.runs(size)
        ]
        assert [a for a, _ in spans] == list(range(0, 20, size)) and spans[-1][1] == 20
        blocks = list(data.blocks(size))
        assert all(len(block) == size for block in blocks[:-1])
        np.testing.assert_array_equal(np.concatenate(blocks), data.features.matrix)
        # A subset has the frames that are used and no others.
        part = np.concatenate(list(data.subset([5, 2]).blocks(size)))
        np.testing.assert_array_equal(part, np.concatenate([data.features_of(5), data.features_of(2)]))


def test_rows_on_a_device_are_those_of_the_host():
    """What a GPU would do, with a processor in its place."""
    data = numbered([40, 30], dim=6)
    host, resident = Gatherer(data.features, CPU), Gatherer(data.features, CPU)
    resident._resident = torch.from_numpy(data.features.matrix)
    index = np.random.default_rng(1).integers(0, 70, (9, 3))
    rows = data.features.matrix
    assert torch.equal(host.rows(rows, index), resident.rows(rows, index))
    for ivector_dim, own in itertools.product((0, 2), (0, 1)):
        pair = [x.spliced(rows, index, ivector_dim, own) for x in (host, resident)]
        assert torch.equal(*pair)


def test_the_next_pool_is_expected_while_this_one_is_used(monkeypatch):
    data = numbered([10] * 30)
    told = []
    monkeypatch.setattr(data.features, "expect", lambda numbers: told.append(len(numbers)))
    batches = SplicedFrames(data, 0, 0, 100, CPU, pool_frames=100).shuffled(1)
    assert [(len(next(batches).labels), list(told)) for _ in range(3)] == [
        (100, [10]),
        (100, [10, 10]),
        (100, [10, 10, 0]),
    ]
