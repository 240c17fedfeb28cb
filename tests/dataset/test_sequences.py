"""Batches of sequences: every frame once, little padding, nothing shared between utterances."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dkt.base.errors import DktError
from dkt.dataset.sequences import Chunks, Streams, WholeUtterances
from dkt.dataset.utterances import Utterances, pack
from dkt.nnet.lstm import Lstm, LstmConfig
from dkt.nnet.network import delayed, reset_state, select_state, store_state

DELAY = 3


def utterances_of(lengths, seed=0) -> Utterances:
    """Utterances whose every feature value is different."""
    generator = torch.Generator().manual_seed(seed)
    features = [torch.randn(length, 4, generator=generator) for length in lengths]
    labels = [torch.arange(length) for length in lengths]
    return pack([f"utt{number}" for number in range(len(lengths))], features, labels)


def random_lengths(median, spread, least, num, seed=0):
    """Log-normal lengths, as those of real utterances are."""
    drawn = np.random.default_rng(seed).lognormal(np.log(median), spread, num)
    return np.maximum(drawn.round(), least).astype(int).tolist()


# In frames: sentences as in speechocean762, single words as in the free spoken digits, all sorts.
CORPORA = {
    "sentences": random_lengths(360, 0.4, 150, 300),
    "digits": random_lengths(39, 0.36, 12, 900),
    "mixture": random_lengths(60, 1.2, 1, 300),
    "few": random_lengths(60, 0.8, 1, 9),
    "frames": [1] * 50,
    "one": [333],
}
each_corpus = pytest.mark.parametrize("corpus", CORPORA)


def batches_of(corpus, kind, seed=1):
    data = utterances_of(CORPORA[corpus])
    if kind == "streams":
        return data, list(Streams(data, DELAY, 8).shuffled(seed))
    whole = WholeUtterances(data, DELAY, 2000)
    return data, list(whole if kind == "fixed" else whole.shuffled(seed))


def numbers(batch):
    """The number of the frame at each place of a batch; 0 on padding."""
    placed = torch.zeros(batch.inputs.mask.shape, dtype=torch.int64)
    placed[batch.inputs.mask] = batch.frames
    return placed


each_kind = pytest.mark.parametrize("kind", ["streams", "fixed", "shuffled"])


@each_kind
@each_corpus
def test_every_frame_of_every_utterance_once_with_its_delayed_features(corpus, kind):
    data, batches = batches_of(corpus, kind)
    seen = torch.zeros(data.num_frames, dtype=torch.int64)
    pieces = [torch.from_numpy(data.features_of(i)) for i in range(len(data.names))]
    expected = torch.cat([delayed(piece, DELAY) for piece in pieces])
    labels = torch.cat([torch.arange(len(piece)) for piece in pieces])
    for batch in batches:
        assert (
            batch.inputs.features.shape == (*batch.inputs.mask.shape, 4)
            and batch.inputs.mask.dtype == torch.bool
        )
        frames = batch.frames
        seen.index_add_(0, frames, torch.ones_like(frames))
        assert torch.equal(batch.inputs.features[batch.inputs.mask], expected[frames])
        assert torch.equal(batch.labels, labels[frames])
        assert torch.isfinite(batch.inputs.features).all()
    assert seen.eq(1).all()


@each_kind
@each_corpus
def test_utterances_run_through_one_stream_in_order_and_reset_where_they_begin(corpus, kind):
    data, batches = batches_of(corpus, kind)
    begins, ends = set(data.offsets[:-1].tolist()), set(data.offsets[1:].tolist())
    after: dict[int, int] = {}  # of each open stream, the frame that has to follow
    for batch in batches:
        assert len(set(batch.inputs.streams.tolist())) == len(batch.inputs.streams)
        for row, stream in enumerate(batch.inputs.streams.tolist()):
            frames = numbers(batch)[batch.inputs.mask[:, row], row].tolist()
            assert batch.inputs.mask[: len(frames), row].all()  # padding comes last
            assert frames == list(range(frames[0], frames[0] + len(frames)))
            assert batch.inputs.reset[row].item() == (stream not in after)
            assert frames[0] == after[stream] if stream in after else frames[0] in begins
            after[stream] = frames[-1] + 1
            if after[stream] in ends:
                del after[stream]
            else:
                assert len(frames) == len(batch.inputs.mask)  # no padding inside an utterance
    assert not after


@pytest.mark.parametrize("num_streams", [1, 4, 16, 40])
@pytest.mark.parametrize("seed", [1, 2])
@each_corpus
def test_streams_hardly_pad(corpus, num_streams, seed):
    streams = Streams(utterances_of(CORPORA[corpus]), DELAY, num_streams)
    batches = list(streams.shuffled(seed))
    computed = sum(batch.inputs.mask.numel() for batch in batches)
    padding = sum((~batch.inputs.mask).sum().item() for batch in batches)
    assert padding / computed == pytest.approx(streams.padding_share(seed))
    assert streams.padding_share(seed) < 0.05
    assert all(len(batch.inputs.mask) < 30 and len(batch.inputs.streams) <= num_streams for batch in batches)
    assert all(batch.inputs.streams.max() < streams.num_states for batch in batches)


@pytest.mark.parametrize("corpus", ["sentences", "digits"])
def test_batches_of_realistic_utterances_are_full(corpus):
    batches = list(Streams(utterances_of(CORPORA[corpus]), DELAY, 16, chunk=20).shuffled(3))
    assert np.mean([len(batch.inputs.mask) for batch in batches]) == pytest.approx(20, abs=1)
    rows = [len(batch.inputs.streams) for batch in batches]
    assert np.mean(rows) > 15 and np.mean(np.array(rows) < 8) < 0.03
    lengths = [len(batch.inputs.mask) for batch in batches if len(batch.inputs.streams) > 8]
    assert min(lengths) > 10
    # Beginnings stand beside middles and ends: a batch of nothing but leading silence teaches nothing.
    begins = [batch.inputs.reset.float().mean().item() for batch in batches[10:-10]]
    assert np.mean(np.array(begins) == 1.0) < 0.01


@each_corpus
def test_whole_utterances_hardly_pad(corpus):
    data = utterances_of(CORPORA[corpus])
    whole = WholeUtterances(data, DELAY, 2000)
    assert whole.padding_share() < 0.05
    longest = [len(batch.inputs.mask) for batch in whole]
    assert longest == sorted(longest, reverse=True)
    for batch in whole:
        assert batch.inputs.reset.all() and batch.inputs.streams.tolist() == list(
            range(len(batch.inputs.streams))
        )
        assert batch.inputs.mask.numel() <= 2000 or len(batch.inputs.streams) == 1
        assert (~batch.inputs.mask).float().mean() < 0.05


@pytest.mark.parametrize("corpus", ["sentences", "digits"])
def test_realistic_whole_utterances_share_batches(corpus):
    data = utterances_of(CORPORA[corpus])
    assert len(list(WholeUtterances(data, DELAY, 2000))) < 1.5 * data.num_frames / 2000 + 10


def test_padding_on_real_lengths(kaldi_fixtures):
    for name in ("train", "dev"):
        table = (kaldi_fixtures / "data" / name / "utt2num_frames").read_text().split()
        data = utterances_of([int(length) for length in table[1::2]])
        assert Streams(data, DELAY, 16).padding_share() < 0.05
        assert WholeUtterances(data, DELAY, 8000).padding_share() < 0.05


def order_of(batches):
    return [numbers(batch).tolist() for batch in batches]


@pytest.mark.parametrize(
    "make", [lambda data: Streams(data, 0, 4), lambda data: WholeUtterances(data, 0, 500)]
)
def test_the_seed_decides_the_order(make):
    batches = make(utterances_of(CORPORA["digits"][:100]))
    assert order_of(batches.shuffled(1)) == order_of(batches.shuffled(1))
    assert order_of(batches.shuffled(1)) != order_of(batches.shuffled(2))


def test_evaluation_has_one_order():
    whole = WholeUtterances(utterances_of(CORPORA["digits"][:100]), 0, 500)
    assert order_of(whole) == order_of(whole)
    shuffled = [batch[0][0] for batch in order_of(whole.shuffled(1))]
    assert shuffled != [batch[0][0] for batch in order_of(whole)]


def small_network() -> Lstm:
    torch.manual_seed(0)
    network = Lstm(LstmConfig(cells=12, projection=6, target_delay=DELAY), 4, 5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.6 * torch.randn_like(parameter))
    return network.eval()


@torch.inference_mode()
def logits_of(network: Lstm, data: Utterances, kind: str) -> torch.Tensor:
    """The logits of all frames, in the order of the packed arrays."""
    logits = torch.full((data.num_frames, network.num_pdfs), float("nan"))
    if kind == "streams":
        streams = Streams(data, DELAY, 3)
        carried = network.zero_state(streams.num_states)
        for batch in streams.shuffled(5):
            state = reset_state(select_state(carried, batch.inputs.streams), batch.inputs.reset)
            chunk, state = network(batch.inputs.features, state)
            store_state(carried, batch.inputs.streams, state)
            logits[batch.frames] = chunk[batch.inputs.mask]
        return logits
    for batch in WholeUtterances(data, DELAY, 500):
        chunk, _ = network(batch.inputs.features)
        logits[batch.frames] = chunk[batch.inputs.mask]
    return logits


@pytest.mark.parametrize("kind", ["streams", "whole"])
def test_logits_are_those_of_each_utterance_alone(kind):
    network, data = small_network(), utterances_of(CORPORA["mixture"][:40])
    alone = []
    for utterance in range(len(data.names)):
        features = delayed(torch.from_numpy(data.features_of(utterance)), DELAY)[:, None]
        alone.append(network(features)[0][:, 0])
    torch.testing.assert_close(logits_of(network, data, kind), torch.cat(alone), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["streams", "whole"])
def test_nothing_leaks_from_one_utterance_into_another(kind):
    network, data = small_network(), utterances_of(CORPORA["digits"][:30])
    before = logits_of(network, data, kind)
    for changed in (0, 11, 29):
        piece = slice(int(data.offsets[changed]), int(data.offsets[changed + 1]))
        original = data.features.matrix[piece].copy()
        data.features.matrix[piece] = 50.0
        after = logits_of(network, data, kind)
        data.features.matrix[piece] = original
        other = torch.ones(data.num_frames, dtype=torch.bool)
        other[piece] = False
        assert torch.equal(after[other], before[other])
        assert not torch.isclose(after[piece], before[piece]).all(dim=1).any()


@pytest.mark.parametrize("kind", ["streams", "fixed"])
def test_utterances_without_frames_are_passed_over(kind):
    data = utterances_of([0, 7, 0, 25, 0])
    batches = Streams(data, 0, 2).shuffled(1) if kind == "streams" else WholeUtterances(data, 0, 100)
    frames = torch.cat([batch.frames for batch in batches])
    assert sorted(frames.tolist()) == list(range(32))


@pytest.mark.parametrize("chunk", [1, 2, 5, 400])
def test_any_length_of_chunk(chunk):
    data = utterances_of(CORPORA["digits"][:60])
    streams = Streams(data, 0, 4, chunk=chunk)
    frames = [batch.frames for batch in streams.shuffled(1)]
    assert sorted(torch.cat(frames).tolist()) == list(range(data.num_frames))
    assert streams.padding_share() < 0.05 and streams.num_frames == data.num_frames


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda data: Streams(data, -1, 4), "target_delay"),
        (lambda data: Streams(data, 0, 0), "num_streams"),
        (lambda data: Streams(data, 0, 4, chunk=0), "chunk"),
        (lambda data: WholeUtterances(data, 0, 0), "frames_per_batch"),
    ],
)
def test_impossible_sizes(make, name):
    with pytest.raises(DktError, match=name):
        make(utterances_of([5, 6]))


@each_corpus
@pytest.mark.parametrize(("left", "right"), [(7, 4), (0, 30), (500, 500)])
def test_chunks_see_their_neighbours_and_learn_each_frame_once(corpus, left, right):
    data = utterances_of(CORPORA[corpus])
    chunks = Chunks(data, DELAY, 8, 20, left, right)
    seen = torch.zeros(data.num_frames, dtype=torch.int64)
    for batch in chunks.shuffled(3):
        inputs, placed = batch.inputs, numbers(batch)
        seen.index_add_(0, batch.frames, torch.ones_like(batch.frames))
        for column in range(inputs.mask.shape[1]):
            rows = inputs.mask[:, column].nonzero().flatten()
            first, last = int(rows[0]), int(rows[-1])
            assert rows.tolist() == list(range(first, last + 1)) and len(rows) <= 30
            begin = int(placed[first, column])
            utterance = int(np.searchsorted(data.offsets, begin, side="right")) - 1
            offset, length = int(data.offsets[utterance]), int(data.lengths[utterance])
            assert first == min(left, begin - offset)
            behind = offset + length - begin - len(rows)
            assert int(inputs.lengths[column]) - last - 1 == min(right, behind)
            # What it sees is the utterance, delayed, up to its end.
            expected = delayed(torch.from_numpy(data.features_of(utterance)), DELAY)
            start = begin - offset - first
            shown = inputs.features[: int(inputs.lengths[column]), column]
            assert torch.equal(shown, expected[start : start + len(shown)])
    assert seen.eq(1).all()
    assert chunks.num_states == 0


def test_chunks_are_of_about_one_length_and_leave_little_padding():
    data = utterances_of(CORPORA["sentences"])
    chunks = Chunks(data, 0, 16, 40, 20, 20)
    lengths = torch.cat([batch.inputs.mask.sum(0) for batch in chunks])
    assert lengths.min() >= 27 and lengths.max() <= 60 and abs(lengths.float().mean() - 40) < 1
    assert chunks.padding_share() < 0.02 and chunks.padding_share(5) == pytest.approx(chunks.padding_share())
    orders = [[batch.frames[0].item() for batch in chunks.shuffled(seed)] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_chunks_of_a_batch_are_of_many_utterances():
    """As nnet3 shuffles its egs: an update is of many speakers."""
    data = utterances_of(CORPORA["sentences"])
    chunks = Chunks(data, 0, 16, 20, 20, 20)
    counts = [
        len(set(np.searchsorted(data.offsets, batch.frames.numpy(), side="right").tolist()))
        for batch in chunks.shuffled(1)
    ]
    assert np.mean(counts) > 14
