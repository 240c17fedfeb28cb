"""What is hidden of the features in training: how much, where, and nothing else."""

from __future__ import annotations

import pytest
import torch

from dkt.base.errors import DktError
from dkt.dataset.batch import Batch
from dkt.feat.pipeline import FeatureOptions, MatrixFile
from dkt.nnet.network import Sequences
from dkt.train.masking import Masking, MaskingConfig, make_masking
from tests.train.test_networks import NETWORKS, lab, same_weights, train  # noqa: F401

BANKS, FILTERS, IVECTOR = 3, 10, 4
MEAN = torch.arange(30.0).view(BANKS, FILTERS) - 100.0


def sequences(num_frames=40, lengths=(40, 25)):
    features = torch.rand(num_frames, len(lengths), BANKS * FILTERS + IVECTOR)
    sizes = torch.tensor(lengths)
    mask = torch.arange(num_frames)[:, None] < sizes
    none = torch.zeros(len(lengths), dtype=torch.int64)
    return Batch(Sequences(features, mask, sizes, none == 0, none), none, None, none)


def hidden_of(before, after):
    """Where the mean stands, which no feature is equal to, ``(T, N, K, F)``; the rest has to be as it was."""
    acoustic = BANKS * FILTERS
    banks = after[..., :acoustic].reshape(*after.shape[:-1], -1, BANKS, FILTERS)
    hidden = banks == MEAN
    assert torch.equal(banks[~hidden], before[..., :acoustic].reshape(banks.shape)[~hidden])
    assert torch.equal(before[..., acoustic:], after[..., acoustic:]) or before.shape[-1] % 30 == 0
    return hidden


def test_bands_are_hidden_in_all_frames_and_all_deltas_of_a_piece():
    torch.manual_seed(1)
    batch, widths = sequences(), set()
    for _ in range(60):
        masked = Masking(MaskingConfig(frequency_masks=1, frequency_width=4), MEAN, IVECTOR)(batch)
        hidden = hidden_of(batch.inputs.features, masked.inputs.features)[:, :, 0]
        # The same filters of every frame and of statics and deltas alike, other ones of the other piece.
        assert torch.equal(hidden, hidden[:1, :, :1].expand_as(hidden))
        for bands in hidden[0, :, 0]:
            where = bands.nonzero().flatten()
            assert len(where) == 0 or where[-1] - where[0] + 1 == len(where)
            widths.add(len(where))
    assert widths == {0, 1, 2, 3, 4}


def test_runs_of_frames_are_hidden_inside_a_piece_not_in_its_padding():
    torch.manual_seed(2)
    batch, lengths, begins = sequences(), set(), set()
    for _ in range(200):
        masked = Masking(MaskingConfig(time_masks=1, time_width=5), MEAN, IVECTOR)(batch)
        hidden = hidden_of(batch.inputs.features, masked.inputs.features)[:, :, 0].flatten(2)
        assert torch.equal(hidden.any(2), hidden.all(2))
        for piece, length in ((0, 40), (1, 25)):
            where = hidden[:, piece, 0].nonzero().flatten().tolist()
            lengths.add(len(where))
            assert where == [] or (where[-1] < length and where[-1] - where[0] + 1 == len(where))
            begins.update(where[:1])
    assert lengths == {0, 1, 2, 3, 4, 5} and {0, 39} & begins and max(begins) > 30


def test_of_spliced_frames_bands_of_the_whole_window_and_frames_of_it():
    torch.manual_seed(3)
    context = 7
    batch = sequences()
    batch.inputs = torch.rand(500, context * BANKS * FILTERS + IVECTOR)
    acoustic = batch.inputs[:, : context * 30]
    masked = Masking(MaskingConfig(frequency_masks=1, frequency_width=4), MEAN, IVECTOR)(batch).inputs
    bands = hidden_of(acoustic, masked[:, : context * 30])
    assert torch.equal(bands, bands[:, :1, :1].expand_as(bands)) and 0.1 < bands.float().mean() < 0.3
    masked = Masking(MaskingConfig(time_masks=2, time_width=2), MEAN, IVECTOR)(batch).inputs
    frames = hidden_of(acoustic, masked[:, : context * 30]).flatten(2)
    assert torch.equal(frames.any(2), frames.all(2)) and 0 < frames[:, :, 0].sum(1).max() <= 4
    assert torch.equal(masked[:, context * 30 :], batch.inputs[:, context * 30 :])


@pytest.mark.parametrize("ivector_dim", [30, 100])
def test_ivectors_of_more_dimensions_than_a_frame_are_never_hidden(ivector_dim):
    torch.manual_seed(4)
    config = MaskingConfig(frequency_masks=2, frequency_width=10, time_masks=2, time_width=5)
    masking = Masking(config, MEAN, ivector_dim)
    batch, context = sequences(), 7
    batch.inputs.features = torch.rand(40, 2, 30 + ivector_dim)
    features = masking(batch).inputs.features
    assert torch.equal(features[..., 30:], batch.inputs.features[..., 30:])
    assert (features[..., :30] == MEAN.flatten()).any()
    batch.inputs = torch.rand(200, context * 30 + ivector_dim)
    spliced = masking(batch).inputs
    assert torch.equal(spliced[:, context * 30 :], batch.inputs[:, context * 30 :])
    frames = (spliced[:, : context * 30].view(200, context, 30) == MEAN.flatten()).all(2)
    # Runs lie among the frames that there are: the last of them is hidden as often as the first.
    assert frames[:, 0].any() and frames[:, -1].any()


def test_nothing_is_drawn_and_nothing_copied_where_nothing_is_hidden():
    assert make_masking(MaskingConfig(), FeatureOptions(), 10, None) is None


def test_bands_of_what_is_no_filterbank_any_more_are_refused():
    options = FeatureOptions(transform=MatrixFile("final.mat", torch.eye(3).numpy()))
    with pytest.raises(DktError, match="transformed or pasted"):
        make_masking(MaskingConfig(frequency_masks=1), options, 10, None)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_training_hides_and_its_evaluation_does_not(lab, tmp_path, kind):  # noqa: F811
    options = ["--set=schedule.max_iters=1", "--set=masking.frequency_masks=1", "--set=masking.time_masks=1"]
    assert train(lab, tmp_path / "masked", kind, *options) == 0
    assert train(lab, tmp_path / "again", kind, *options) == 0
    assert same_weights(tmp_path / "masked", tmp_path / "again")
    assert train(lab, tmp_path / "plain", kind, options[0]) == 0
    assert not same_weights(tmp_path / "masked", tmp_path / "plain")
    # A width of 0 hides nothing.
    none = [options[0], "--set=masking.frequency_masks=1", "--set=masking.frequency_width=0"]
    assert train(lab, tmp_path / "none", kind, *none, "--set=network.dropout=0") == 0
    assert train(lab, tmp_path / "plain0", kind, options[0], "--set=network.dropout=0") == 0
    assert same_weights(tmp_path / "none", tmp_path / "plain0")
