"""From directories to mini-batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dkt.base.errors import DktError
from dkt.dataset.frames import SplicedFrames
from dkt.dataset.utterances import check_cv_disjoint, load_utterances, pack, split_off
from dkt.feat.functions import splice
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.reader import FeatureReader
from dkt.hmm.alignments import AlignmentDir, match_lengths
from dkt.targets.header import TargetHeader
from dkt.targets.store import SoftTargetWriter, TargetDir
from dkt.util.data_dir import DataDir
from tests.hmm.test_transitions import two_phone_model
from tests.synthetic import random_corpus, write_ali_dir, write_data_dir

CPU = torch.device("cpu")


def three_utterances():
    features = [torch.randn(n, 3, generator=torch.Generator().manual_seed(n)) for n in (1, 7, 4)]
    labels = [torch.arange(n) + 10 * i for i, n in enumerate((1, 7, 4))]
    return pack(["a", "b", "c"], features, labels)


@pytest.mark.parametrize(("left", "right"), [(0, 0), (2, 1), (5, 5)])
def test_gathered_context_equals_splicing_each_utterance_alone(left, right):
    data = three_utterances()
    spliced = torch.cat([batch.inputs for batch in SplicedFrames(data, left, right, 5, CPU)]).numpy()
    pieces = [splice(data.features_of(i), left, right) for i in range(3)]
    np.testing.assert_array_equal(spliced, np.concatenate(pieces))


def test_shuffling_keeps_frames_with_their_labels_and_follows_the_seed():
    data = three_utterances()
    frames = SplicedFrames(data, 1, 1, 5, CPU)
    order = torch.cat([batch.labels for batch in frames.shuffled(1)])
    assert sorted(order.tolist()) == sorted(data.labels.tolist())
    assert order.tolist() != data.labels.tolist()
    assert torch.equal(order, torch.cat([batch.labels for batch in frames.shuffled(1)]))
    assert not torch.equal(order, torch.cat([batch.labels for batch in frames.shuffled(2)]))
    plain = {int(y): x for batch in frames for x, y in zip(batch.inputs, batch.labels, strict=True)}
    for batch in frames.shuffled(1):
        assert torch.equal(batch.labels, torch.from_numpy(data.labels[batch.frames]).long())
        for x, y in zip(batch.inputs, batch.labels, strict=True):
            assert torch.equal(x, plain[int(y)])


def test_lengths_are_cut_below_five_frames_of_difference():
    assert match_lengths(10, 6) == 6
    assert match_lengths(2, 6) == 2
    assert match_lengths(11, 6) is None and match_lengths(6, 11) is None


@pytest.fixture
def corpus(tmp_path):
    features, alignments = random_corpus(1, "s", 30)
    write_data_dir(tmp_path / "data", features)
    write_ali_dir(tmp_path / "ali", two_phone_model(), alignments)
    return tmp_path, features, alignments


def load(path, max_dropped=0.05):
    reader = FeatureReader(DataDir(path / "data"), FeatureOptions())
    return load_utterances(reader, AlignmentDir(path / "ali"), "training data", max_dropped)


def test_loads_every_utterance_with_its_own_pdfs(corpus):
    path, features, alignments = corpus
    data = load(path)
    assert data.names == list(features)
    for i, utt in enumerate(data.names):
        np.testing.assert_array_equal(data.features_of(i), features[utt])
        np.testing.assert_array_equal(data.labels_of(i), two_phone_model().id2pdf[alignments[utt]])


def log_post_of(data):
    """Of all frames in order."""
    rows = [data.targets.select(data.rows_of(i)).log_post for i in range(len(data.names))]
    return torch.cat(rows)


def test_loads_the_soft_targets_of_every_frame_and_cuts_them_with_the_alignment(corpus):
    path, features, alignments = corpus
    header = TargetHeader("0" * 16, 3, None, (1.0,), {})
    generator = torch.Generator().manual_seed(6)
    log_post = {
        u: torch.randn(len(x), 3, generator=generator).log_softmax(dim=1) for u, x in features.items()
    }
    with SoftTargetWriter(path / "soft", header) as writer:
        for utt, matrix in log_post.items():
            writer.write(utt, matrix.numpy())
    short = next(iter(alignments))
    alignments[short] = alignments[short][:-3]
    write_ali_dir(path / "ali", two_phone_model(), alignments)
    reader = FeatureReader(DataDir(path / "data"), FeatureOptions())
    store = TargetDir(path / "soft")
    data = load_utterances(reader, AlignmentDir(path / "ali"), "training data", 0.05, store)
    expected = torch.cat([matrix[: len(alignments[utt])] for utt, matrix in log_post.items()])
    torch.testing.assert_close(log_post_of(data), expected, atol=2e-3, rtol=2e-3)
    assert len(data.targets) == data.num_frames
    # Without alignments the labels are the teacher's, and nothing is cut.
    data = load_utterances(reader, None, "training data", 0.05, store)
    best = torch.cat([x.argmax(dim=1) for x in log_post.values()])
    # Half precision may decide a near tie otherwise.
    assert len(data.labels) == len(best) and (data.labels == best.numpy()).mean() > 0.99
    part = data.subset([3, 0])
    names = [data.names[3], data.names[0]]
    expected = torch.cat([log_post[utt] for utt in names])
    torch.testing.assert_close(log_post_of(part), expected, atol=2e-3, rtol=2e-3)


def test_missing_alignments_are_counted_and_limited(corpus, caplog):
    path, _, alignments = corpus
    first, second = list(alignments)[:2]
    del alignments[first]
    write_ali_dir(path / "ali", two_phone_model(), alignments)
    assert first not in load(path).names
    assert f"dropped utterance '{first}': no alignment" in caplog.text
    del alignments[second]
    write_ali_dir(path / "ali", two_phone_model(), alignments)
    with pytest.raises(DktError, match=r"data: 2 of 30 utterances were dropped.*no alignment.*--max-dropped"):
        load(path)
    assert len(load(path, max_dropped=0.1).names) == 28


def test_utterances_without_features_are_counted(corpus, caplog):
    path, features, _ = corpus
    lines = (path / "data/feats.scp").read_text().splitlines(keepends=True)
    gone = list(features)[-2:]
    (path / "data/feats.scp").write_text("".join(lines[:-1]))
    assert gone[1] not in load(path).names
    assert f"dropped utterance '{gone[1]}': no features in" in caplog.text
    (path / "data/feats.scp").write_text("".join(lines[:-2]))
    with pytest.raises(DktError, match=r"2 of 30 utterances were dropped.*no features"):
        load(path)


def test_long_length_differences_are_dropped_by_name(corpus, caplog):
    path, _, alignments = corpus
    utt = next(iter(alignments))
    alignments[utt] = alignments[utt][:-5]
    write_ali_dir(path / "ali", two_phone_model(), alignments)
    assert utt not in load(path).names
    assert f"'{utt}': 5 frames or more" in caplog.text


def test_the_evaluated_share_is_fixed_and_whole(corpus):
    data = load(corpus[0])
    tenth = split_off(data, 0.1, 5)
    assert len(tenth.names) == 3 and tenth.names == split_off(data, 0.1, 5).names
    assert tenth.names != split_off(data, 0.1, 6).names
    i = data.names.index(tenth.names[1])
    np.testing.assert_array_equal(tenth.features_of(1), data.features_of(i))


def test_cross_validation_on_the_training_data_is_refused(corpus):
    data = DataDir(corpus[0] / "data")
    with pytest.raises(DktError, match="cross-validate on data that are not trained on"):
        check_cv_disjoint(data, DataDir(corpus[0] / "data"))
