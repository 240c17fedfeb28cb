"""Kaldi's Posterior type, and Kaldi's posterior archives as soft targets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dkt.base.errors import DktError
from dkt.hmm.posterior import Posterior, PosteriorWriter, encode_posterior, posterior_to_pdfs, read_posteriors
from dkt.hmm.transition_model import load_transition_model
from dkt.targets.kaldi_posteriors import PosteriorTargets, open_targets, targets_from_posteriors
from dkt.targets.soft_targets import stack
from dkt.train import objectives
from dkt.util.table import IntVectorWriter, MatrixWriter, read_int_vectors, read_matrices
from tests.hmm.test_transitions import two_phone_model
from tests.synthetic import write_matrices

FRAMES = [[(3, 0.75), (1, 0.25)], [], [(2, 1.0)]]


def write(wspecifier: str, **posteriors: Posterior) -> None:
    with PosteriorWriter(wspecifier) as writer:
        for utt, posterior in posteriors.items():
            writer.write(utt, posterior)


@pytest.mark.parametrize("form", ["ark", "ark,t"])
def test_round_trip(tmp_path, form):
    post, empty = Posterior.of_frames(FRAMES), Posterior.of_frames([])
    # The empty one stands in the middle: its end must not be taken for a part of what follows.
    write(f"{form}:| gzip -c > {tmp_path}/x.gz", a=post, b=empty, c=post)
    back = dict(read_posteriors(f"ark:gunzip -c {tmp_path}/x.gz |"))
    assert list(back) == ["a", "b", "c"]
    assert back["a"].frames() == back["c"].frames() == FRAMES
    assert len(back["a"]) == 3 and len(back["b"]) == 0


def test_text_is_as_kaldi_prints_it():
    assert encode_posterior(Posterior.of_frames(FRAMES), text=True) == b"[ 3 0.75 1 0.25 ] [ ] [ 2 1 ] \n"


def test_kaldis_archives_are_rewritten_byte_for_byte(kaldi_fixtures, tmp_path):
    tables = kaldi_fixtures / "golden/tables"
    binary = dict(read_posteriors(f"ark:{tables}/post_binary.ark"))
    text = dict(read_posteriors(f"ark:{tables}/post_text.ark"))
    assert len(binary) > 50
    assert {u: p.frames() for u, p in binary.items()} == {u: p.frames() for u, p in text.items()}
    for form, name in (("ark", "post_binary"), ("ark,t", "post_text")):
        write(f"{form}:{tmp_path}/x.ark", **binary)
        assert (tmp_path / "x.ark").read_bytes() == (tables / f"{name}.ark").read_bytes()


def test_posteriors_of_an_alignment_are_its_ids_and_pdfs(kaldi_fixtures):
    model = load_transition_model(kaldi_fixtures / "exp/tri2b_ali/final.mdl")
    tables = kaldi_fixtures / "golden/tables"
    alignments = dict(read_int_vectors(f"ark:{tables}/ali_binary.ark"))
    for utt, post in read_posteriors(f"ark:{tables}/post_binary.ark"):
        np.testing.assert_array_equal(post.ids, alignments[utt])
        pdfs = posterior_to_pdfs(post, model, "x", utt)
        np.testing.assert_array_equal(pdfs.ids, model.id2pdf[alignments[utt]])
        assert (pdfs.weights == 1.0).all() and (pdfs.lengths == 1).all()


def test_weights_of_one_pdf_are_added_and_zeros_left_out():
    # Transition-ids 1 and 2 are of pdf 0, 3 and 4 of pdf 1, 5 and 6 of pdf 2.
    post = Posterior.of_frames([[(4, 0.25), (1, 0.125), (3, 0.5), (2, 0.125)], [], [(6, 0.0), (1, 1.0)]])
    as_pdfs = posterior_to_pdfs(post, two_phone_model(), "x", "u")
    assert as_pdfs.frames() == [[(0, 0.25), (1, 0.75)], [], [(0, 1.0)]]
    with pytest.raises(DktError, match=r"x: utterance 'u': transition-ids from 0 to 9, expected 1 to 6"):
        posterior_to_pdfs(Posterior.of_frames([[(0, 1.0), (9, 0.0)]]), two_phone_model(), "x", "u")


@pytest.mark.parametrize("form", ["ark", "ark,t"])
def test_cut_at_every_byte_is_an_error_or_a_shorter_table(tmp_path, form):
    write(f"{form}:{tmp_path}/x.ark", a=Posterior.of_frames(FRAMES), b=Posterior.of_frames(FRAMES[2:]))
    data = (tmp_path / "x.ark").read_bytes()
    first = 2 + len(encode_posterior(Posterior.of_frames(FRAMES), form == "ark,t"))
    for size in range(len(data)):
        (tmp_path / "y.ark").write_bytes(data[:size])
        if size in (0, first):
            assert len(list(read_posteriors(f"ark:{tmp_path}/y.ark"))) == (size > 0)
        else:
            with pytest.raises(DktError, match=r"y\.ark"):
                list(read_posteriors(f"ark:{tmp_path}/y.ark"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a 3 3 12\n", r"utterance 'a': expected \[ id weight .*ali-to-post"),
        (b"a [ 3 1 ] [ 4 ]\n", "frame 1 is not"),
        (b"a [ 3 1 ] [ 4 1 \n", "frame 1 is not"),
        (b"a [ 3 x ]\n", "utterance 'a'.*damaged"),
        (b"a [ 0.5 0.5 ]\n", "utterance 'a'.*damaged"),
        (b"a [\n 0.5 0.5 ]\n", "found a matrix"),
        (b"a \0B\x04\xff\xff\xff\xff", "-1 frames"),
        (b"a \0B\x04\x01\0\0\0\x04\xff\xff\xff\x7f", "2147483647 entries in frame 0"),
        (b"a \0B\x04\x01\0\0\0\x08\x01\0\0\0", "entries in frame 0"),
        (b"a \0B\x04\x01\0\0\0\x04\x01\0\0\0\x08abcd\x04abcd", "4-byte"),
        (b"a \0BFM \x04\x01\0\0\0\x04\x01\0\0\0\0\0\0\0", "found a matrix"),
    ],
)
def test_damaged_and_foreign_objects(tmp_path, content, message):
    (tmp_path / "x.ark").write_bytes(content)
    with pytest.raises(DktError, match=message):
        list(read_posteriors(f"ark:{tmp_path}/x.ark"))


def test_a_range_of_a_posterior_is_refused(tmp_path):
    write(f"ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp", a=Posterior.of_frames(FRAMES))
    place = (tmp_path / "x.scp").read_text().strip()
    (tmp_path / "y.scp").write_text(f"{place}[0:1]\n")
    with pytest.raises(DktError, match=r"utterance 'a'.*matrices and vectors only"):
        list(read_posteriors(f"scp:{tmp_path}/y.scp"))


# --- as soft targets ---


def random_posteriors(num_frames: int = 7, num_pdfs: int = 9, seed: int = 0) -> np.ndarray:
    logits = 3.0 * np.random.default_rng(seed).normal(size=(num_frames, num_pdfs))
    exp = np.exp(logits)
    return (exp / exp.sum(axis=1, keepdims=True)).astype(np.float32)


def as_posterior(matrix: np.ndarray) -> Posterior:
    return Posterior.of_frames([list(enumerate(row.tolist())) for row in matrix])


def tail_by_hand(row: np.ndarray, kept: list[int], temperature: float) -> float:
    rest = [j for j in range(len(row)) if j not in kept]
    return float(np.log((row[rest].astype(np.float64) ** (1.0 / temperature)).sum()))


@pytest.mark.parametrize(("form", "function"), [("posteriors", None), ("log-posteriors", np.log)])
def test_a_matrix_of_posteriors(form, function):
    matrix = random_posteriors()
    targets = targets_from_posteriors(function(matrix) if function else matrix, 9, 4, (1.0, 3.0), form)
    for row, pdfs, log_post, tails in zip(matrix, targets.pdfs, targets.log_post, targets.tails, strict=True):
        assert pdfs.tolist() == np.argsort(-row)[:4].tolist()
        np.testing.assert_allclose(log_post, np.log(row[pdfs]), atol=1e-5)
        for tail, temperature in zip(tails, (1.0, 3.0), strict=True):
            assert float(tail) == pytest.approx(tail_by_hand(row, pdfs.tolist(), temperature), abs=1e-5)


def test_logits_need_no_normalisation():
    matrix = np.log(random_posteriors()) + np.arange(7)[:, None] * 30.0
    dense = targets_from_posteriors(matrix, 9, form="logits")
    assert dense.dense
    np.testing.assert_allclose(dense.log_post.exp(), random_posteriors(), atol=1e-5)


def test_a_posterior_of_zero_is_one_that_float32_could_not_hold():
    targets = targets_from_posteriors(np.array([[1.0, 0.0]], dtype=np.float32), 2)
    assert targets.log_post[0, 0] == pytest.approx(0.0)
    assert targets.log_post[0, 1] == pytest.approx(math.log(1.4013e-45), abs=1e-3)


def test_a_posterior_that_lists_everything_is_the_matrix():
    matrix = random_posteriors()
    sparse = targets_from_posteriors(as_posterior(matrix), 9, 4, (1.0, 2.0))
    dense = targets_from_posteriors(matrix, 9, 4, (1.0, 2.0))
    assert torch.equal(sparse.pdfs, dense.pdfs)
    torch.testing.assert_close(sparse.log_post, dense.log_post, atol=1e-5, rtol=0.0)
    torch.testing.assert_close(sparse.tails, dense.tails, atol=1e-5, rtol=0.0)
    # Unlimited, the smallest posterior becomes a tail of one pdf, exact at every temperature.
    whole = targets_from_posteriors(as_posterior(matrix), 9, None, (1.0, 2.0))
    assert whole.log_post.shape == (7, 8)
    smallest = torch.from_numpy(np.log(matrix.min(axis=1)))
    torch.testing.assert_close(whole.tail(2.0), smallest / 2.0, atol=1e-4, rtol=0.0)


def test_padding_takes_nothing_from_the_tail_and_gives_the_loss_of_the_dense_teacher():
    frames = [[(2, 0.5), (0, 0.25)], [(1, 1.0)], [(3, 0.5), (1, 0.25), (0, 0.125)]]
    targets = targets_from_posteriors(Posterior.of_frames(frames), 5)
    assert targets.log_post.shape == (3, 3)
    assert targets.pdfs[1].tolist() == [1, 1, 1] and targets.pdfs[0].tolist() == [2, 0, 2]
    np.testing.assert_allclose(targets.tail(1.0).exp(), [0.25, 0.0, 0.125], atol=1e-6)
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    student = torch.log_softmax(logits, dim=1)
    expected = 0.0
    for row, frame in zip(student, frames, strict=True):
        expected -= sum(weight * float(row[pdf]) for pdf, weight in frame)
        missing = 1.0 - sum(weight for _, weight in frame)
        others = [j for j in range(5) if j not in dict(frame)]
        expected -= missing * float(row[others].logsumexp(0)) if missing else 0.0
    loss = objectives.soft(logits, targets.pdfs, targets.log_post.double(), targets.tail(1.0).double(), 1.0)
    assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_one_hot_posteriors_serve_every_temperature_and_equal_hard_labels():
    labels = [2, 0, 1]
    targets = targets_from_posteriors(Posterior.of_frames([[(label, 1.0)] for label in labels]), 3)
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
    assert torch.isneginf(targets.tail(7.0)).all()
    soft = objectives.soft(logits, targets.pdfs, targets.log_post, targets.tail(1.0), 1.0)
    torch.testing.assert_close(soft, objectives.hard(logits, torch.tensor(labels)))


def test_utterances_of_different_widths_are_joined():
    narrow = targets_from_posteriors(Posterior.of_frames([[(4, 1.0)]]), 5)
    wide = targets_from_posteriors(Posterior.of_frames([[(3, 0.5), (1, 0.375), (0, 0.125)]]), 5)
    joined = stack([narrow, wide])
    assert joined.pdfs.tolist() == [[4, 4, 4], [3, 1, 0]]
    assert joined.log_post[0].tolist() == [0.0, -math.inf, -math.inf]
    assert len(joined) == 2 and joined.tails.shape == (2, 1)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([[(0, 1.0)], []], "frame 1 sum to 0, expected above 0"),
        ([[(0, 0.7), (1, 0.7)]], "frame 0 sum to 1.4"),
        ([[(0, 1.5), (1, -0.5)]], "negative"),
        ([[(0, float("nan"))]], "not a number"),
        ([[(5, 1.0)]], r"pdfs from 5 to 5, expected 0 to 4 - .*final\.mdl"),
        ([[(j, 0.1) for j in range(5)]], "of all pdfs of frame 0 sum to 0.5"),
    ],
)
def test_posteriors_that_are_no_distribution(frames, message):
    with pytest.raises(DktError, match=message):
        targets_from_posteriors(Posterior.of_frames(frames), 5)


def test_what_rounding_did_to_a_sum_is_mended():
    for share in (0.5001, 0.49996):
        targets = targets_from_posteriors(Posterior.of_frames([[(0, share), (3, 0.5)]]), 5)
        assert float(targets.log_post.double().exp().sum()) == pytest.approx(1.0, abs=1e-6)
        assert torch.isneginf(targets.tail(1.0)).all()
    coarse = np.array([[0.504, 0.5]])
    assert float(targets_from_posteriors(coarse, 2).log_post.exp().sum()) == pytest.approx(1.0, abs=1e-6)


def test_a_pruned_posterior_is_known_at_temperature_one_only():
    pruned = Posterior.of_frames([[(0, 1.0)], [(0, 0.9)]])
    targets = targets_from_posteriors(pruned, 5)
    assert float(targets.tail(1.0)[1].exp()) == pytest.approx(0.1, abs=1e-6)
    with pytest.raises(DktError, match=r"frame 1 leave 0\.1 to pdfs that are not listed.*temperature 2"):
        targets_from_posteriors(pruned, 5, temperatures=(1.0, 2.0))
    # A single pdf left has all of the rest, at any temperature.
    targets = targets_from_posteriors(Posterior.of_frames([[(0, 0.75)]]), 2, temperatures=(1.0, 2.0))
    assert float(targets.tail(2.0).exp()) == pytest.approx(0.25**0.5)


@pytest.mark.parametrize(
    ("matrix", "form", "message"),
    [
        ([[0.5, 0.6]], "posteriors", "frame 0 sum to 1.1, expected 1"),
        ([[-0.1, -2.4]], "posteriors", "negative - are they log-posteriors"),
        ([[3.0, 100.0]], "log-posteriors", "frame 0 sum to"),
        ([[0.5, 0.5]], "log-posteriors", "sum to 3.297"),
        ([[float("nan"), 1.0]], "posteriors", "not a number"),
        ([[-math.inf, 1.0]], "logits", "not a number"),
        ([[0.2, 0.3, 0.5]], "posteriors", r"shape \(1, 3\), expected 2 pdfs"),
    ],
)
def test_matrices_that_are_no_posteriors(matrix, form, message):
    with pytest.raises(DktError, match=message):
        targets_from_posteriors(np.array(matrix), 2, form=form)


@pytest.mark.parametrize("kind", ["ark", "scp"])
def test_archives_are_read_as_targets_whatever_they_hold(tmp_path, kind):
    matrix = random_posteriors()
    write_matrices(tmp_path, "dense", {"u": matrix, "v": matrix[:3]})
    write(
        f"ark,scp:{tmp_path}/sparse.ark,{tmp_path}/sparse.scp",
        u=as_posterior(matrix),
        v=as_posterior(matrix[:3]),
    )
    for name in ("dense", "sparse"):
        source = open_targets(f"{kind}:{tmp_path}/{name}.{kind}", 9, top_k=4, temperatures=(1.0, 2.0))
        assert "u" in source and "w" not in source
        targets = source.read("u", 7)
        np.testing.assert_allclose(targets.log_post.exp()[:, 0], matrix.max(axis=1), atol=1e-5)
        assert len(source.read("v", 3)) == 3
        with pytest.raises(DktError, match="utterance 'u': soft targets of 7 frames, the features have 8"):
            source.read("u", 8)
        with pytest.raises(DktError, match="utterance 'w': has no posteriors"):
            source.read("w", 7)
        source.check_teacher("0123", 9)
        with pytest.raises(DktError, match="9 pdfs, expected 10"):
            source.check_teacher(None, 10)


def test_text_archives_of_either_kind(tmp_path):
    matrix = random_posteriors(3)
    with MatrixWriter(f"ark,t:{tmp_path}/m.ark") as writer:
        writer.write("u", matrix)
    write(f"ark,t:{tmp_path}/p.ark", u=as_posterior(matrix))
    first, second = (PosteriorTargets(f"ark:{tmp_path}/{n}.ark", 9, 4).read("u", 3) for n in "mp")
    assert torch.equal(first.pdfs, second.pdfs)
    torch.testing.assert_close(first.log_post, second.log_post, atol=1e-5, rtol=0.0)


def test_a_wrong_archive_is_named_with_its_utterance(tmp_path):
    write_matrices(tmp_path, "x", {"u": random_posteriors(), "v": 2 * random_posteriors()})
    with pytest.raises(DktError, match=r"x\.ark: utterance 'v': the posteriors of frame 0 sum to 2"):
        PosteriorTargets(f"ark:{tmp_path}/x.ark", 9)
    lazy = PosteriorTargets(f"scp:{tmp_path}/x.scp", 9)
    lazy.read("u", 7)
    with pytest.raises(DktError, match=r"utterance 'v': the posteriors of frame 0 sum to 2"):
        lazy.read("v", 7)
    with IntVectorWriter(f"ark,t:{tmp_path}/ali.ark") as writer:
        writer.write("u", np.array([1, 2]))
    with pytest.raises(DktError, match=r"ali\.ark: utterance 'u': expected \[ id weight"):
        PosteriorTargets(f"ark:{tmp_path}/ali.ark", 9)
    with pytest.raises(DktError, match="neither a directory of soft targets nor an rspecifier"):
        open_targets(f"{tmp_path}/nowhere", 9)
    with pytest.raises(DktError, match="--top-k is 10, expected a number from 1 to the 9 pdfs"):
        PosteriorTargets(f"ark:{tmp_path}/x.ark", 9, top_k=10)


def test_kaldis_posteriors_are_targets(kaldi_fixtures):
    archive = kaldi_fixtures / "golden/nnet1/posteriors.ark"
    source = PosteriorTargets(f"ark:{archive}", 624, 20, (1.0, 2.0, 5.0))
    for utt, matrix in read_matrices(f"ark:{archive}"):
        targets = source.read(utt, len(matrix))
        np.testing.assert_array_equal(targets.pdfs[:, 0], matrix.argmax(axis=1))
        kept = np.take_along_axis(matrix, targets.pdfs.numpy(), axis=1)
        np.testing.assert_allclose(targets.log_post.exp(), kept, rtol=1e-4)
        np.testing.assert_allclose(targets.tail(1.0).exp(), 1.0 - kept.sum(axis=1), atol=1e-4)


def test_kaldis_alignment_posteriors_are_the_hard_labels(kaldi_fixtures):
    model = load_transition_model(kaldi_fixtures / "exp/tri2b_ali/final.mdl")
    tables = kaldi_fixtures / "golden/tables"
    source = open_targets(f"ark:{tables}/post_text.ark", 624, transitions=model)
    for utt, ids in read_int_vectors(f"ark:{tables}/ali_text.ark"):
        targets = source.read(utt, len(ids))
        assert targets.pdfs.shape == (len(ids), 1)
        np.testing.assert_array_equal(targets.pdfs[:, 0], model.id2pdf[ids])
        assert (targets.log_post == 0.0).all() and torch.isneginf(targets.tail(2.0)).all()
    with pytest.raises(DktError, match=r"post_text\.ark: utterance '.*expected 0 to 623 - .*final\.mdl"):
        open_targets(f"ark:{tables}/post_text.ark", 624)
