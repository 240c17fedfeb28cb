"""The commands acc-lda and est-lda, their files, and LDA of real speech against Kaldi's final.mat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.feat.extraction import FeatureExtractor, read_config
from dkt.feat.functions import apply_cmvn, cmvn_stats
from dkt.feat.wave import read_audio
from dkt.hmm.alignments import AlignmentDir
from dkt.hmm.posterior import Posterior, PosteriorWriter
from dkt.transform.lda import LdaAccumulator, accumulate_spliced
from dkt.transform.lda_files import load_accumulator, save_accumulator
from dkt.util.object_io import ObjectReader
from dkt.util.table import IntVectorWriter, read_script
from tests.hmm.test_transitions import two_phone_model
from tests.synthetic import FEATURE_DIM, random_corpus, write_ali_dir, write_matrices

MODEL = two_phone_model()


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A directory with ``feats.ark``, ``ali.ark`` and ``final.mdl``; features; transition-ids."""
    features, alignments = random_corpus(0, "u", 8)
    write_ali_dir(tmp_path, MODEL, alignments)
    write_matrices(tmp_path, "feats", features)
    with IntVectorWriter(f"ark:{tmp_path}/ali.ark") as writer:
        for utt, ids in alignments.items():
            writer.write(utt, ids)
    return tmp_path, features, alignments


def acc(where: Path, *options: str, labels: str = "ali", name: str = "acc") -> int:
    tables = [f"ark:{where}/feats.ark", f"ark:{where}/{labels}.ark"]
    return main(["acc-lda", *options, f"{where}/final.mdl", *tables, f"{where}/{name}"])


def expected(
    features: dict[str, np.ndarray], ids: dict[str, np.ndarray], silence: float = 1.0
) -> LdaAccumulator:
    stats = LdaAccumulator(MODEL.num_pdfs, FEATURE_DIM)
    for utt, frames in features.items():
        weights = np.where(MODEL.id2phone[ids[utt]] == 1, silence, 1.0)
        stats.accumulate(frames, MODEL.id2pdf[ids[utt]], weights)
    return stats


def assert_same(found: LdaAccumulator, wanted: LdaAccumulator) -> None:
    for name in ("counts", "first", "second"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("silence", [0.0, 0.5, 1.0])
def test_alignments_with_silence_weighted(corpus, silence) -> None:
    where, features, ids = corpus
    assert acc(where, "--ali", "--silence-phones=1", f"--silence-weight={silence}") == 0
    assert_same(load_accumulator(where / "acc"), expected(features, ids, silence))


def test_posteriors_share_a_frame_out(corpus) -> None:
    where, features, ids = corpus
    with PosteriorWriter(f"ark:{where}/post.ark") as writer:
        for utt, own in ids.items():
            # Every frame a quarter its own, three quarters the transition-id 5; then one that nobody claims.
            frames = [[(int(i), 0.25), (5, 0.75)] for i in own]
            writer.write(utt, Posterior.of_frames([*frames[:-1], []]))
    assert acc(where, labels="post") == 0
    wanted = LdaAccumulator(MODEL.num_pdfs, FEATURE_DIM)
    for utt, own in ids.items():
        frames, pdfs = features[utt][:-1], MODEL.id2pdf[own[:-1]]
        wanted.accumulate(frames, pdfs, np.full(len(pdfs), 0.25))
        wanted.accumulate(frames, np.full(len(pdfs), MODEL.id2pdf[5]), np.full(len(pdfs), 0.75))
    assert_same(load_accumulator(where / "acc"), wanted)


def test_random_pruning_keeps_the_sums_on_average(corpus) -> None:
    where, features, ids = corpus
    whole = expected(features, ids)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert acc(where, "--ali", "--rand-prune=4", f"--srand={seed}", name=name) == 0
    pruned = load_accumulator(where / "a")
    np.testing.assert_array_equal(pruned.counts % 4, 0)
    assert pruned.counts.sum() == pytest.approx(whole.counts.sum(), rel=0.25)
    assert (where / "a").read_bytes() == (where / "b").read_bytes() != (where / "c").read_bytes()
    # A weight that is larger stays as it is.
    assert acc(where, "--ali", "--rand-prune=0.5", name="whole") == 0
    assert_same(load_accumulator(where / "whole"), whole)


def test_est_lda_adds_parts_up_and_writes_both_matrices(corpus) -> None:
    where, features, ids = corpus
    whole = expected(features, ids)
    for number in (0, 1):
        part = dict(list(features.items())[number::2])
        save_accumulator(where / f"{number}.acc", expected(part, ids), binary=number == 0)
    options = ["--dim=2", "--remove-offset", "--within-class-factor=0.5"]
    outputs = [f"--write-full-matrix={where}/full.mat", f"{where}/lda.mat"]
    assert main(["est-lda", *options, *outputs, f"{where}/0.acc", f"{where}/1.acc"]) == 0
    lda, full = (ObjectReader.open(where / f"{name}.mat").matrix() for name in ("lda", "full"))
    np.testing.assert_allclose(lda, whole.estimate(2, 0.5, True), rtol=1e-3, atol=1e-4)
    assert full.shape == (FEATURE_DIM, FEATURE_DIM + 1)
    np.testing.assert_array_equal(full[:2], lda)
    assert main(["est-lda", "--dim=2", "--binary=false", f"{where}/text.mat", f"{where}/0.acc"]) == 0
    assert (where / "text.mat").read_bytes().startswith(b" [\n  ")


def test_utterances_without_fitting_labels_are_dropped_and_counted(corpus, capsys) -> None:
    where, features, ids = corpus
    first, second, *rest = list(ids)
    with IntVectorWriter(f"ark:{where}/ali.ark") as writer:
        for utt in [second, *rest]:
            writer.write(utt, ids[utt][: -1 if utt == second else None])
    assert acc(where, "--ali") == 1
    assert f"({first}): is not in" in (error := capsys.readouterr().err)
    assert f"({second}): no frames, or another number" in error
    assert acc(where, "--ali", "--max-dropped=0.3") == 0
    assert_same(load_accumulator(where / "acc"), expected({u: features[u] for u in rest}, ids))


def _other_dimension(where: Path, features: dict[str, np.ndarray], utt: str) -> None:
    write_matrices(where, "feats", features | {utt: features[utt][:, :4]})


def _not_a_number(where: Path, features: dict[str, np.ndarray], utt: str) -> None:
    features[utt][2, 1] = np.nan
    write_matrices(where, "feats", features)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(_other_dimension, "features of shape"), (_not_a_number, "the features hold a value")],
)
def test_bad_features_name_the_utterance(corpus, capsys, spoil, message) -> None:
    where, features, _ = corpus
    utt = list(features)[3]
    spoil(where, features, utt)
    assert acc(where, "--ali") == 1
    assert f"feats.ark: utterance '{utt}': {message}" in capsys.readouterr().err


def test_impossible_options_are_refused(corpus, capsys) -> None:
    assert acc(corpus[0], "--ali", "--silence-phones=1:9") == 1
    assert "phone 9 of the silence phones is not of this model" in capsys.readouterr().err
    for option in ("--rand-prune=-1", "--silence-weight=nan", "--silence-phones=1:x"):
        with pytest.raises(SystemExit):
            acc(corpus[0], "--ali", option)


def test_labels_of_another_model_are_refused(corpus, capsys) -> None:
    where, _, ids = corpus
    with IntVectorWriter(f"ark:{where}/ali.ark") as writer:
        for utt, own in ids.items():
            writer.write(utt, own + 1)
    assert acc(where, "--ali") == 1
    assert "transition-ids from 2 to 7, expected 1 to 6" in capsys.readouterr().err


@pytest.mark.parametrize("binary", [True, False])
def test_statistics_cut_short_at_every_byte_are_an_error(corpus, binary) -> None:
    where, features, ids = corpus
    save_accumulator(where / "acc", expected(features, ids), binary)
    data = (where / "acc").read_bytes()
    # The space that ends the last token is not missed.
    for length in range(len(data) - 1):
        (where / "acc").write_bytes(data[:length])
        with pytest.raises(DktError, match="acc: "):
            load_accumulator(where / "acc")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"<VECSIZE> 6", b"<VECSIZE> 5", r"for 3 classes and dimension 5"),
        (b"<NUMCLASSES> 3", b"<NUMCLASSES> 2000000000", "for 2000000000 classes"),
        (b"<SECOND_ACCS> [\n", b"<SECOND_ACCS> [\n1 2\n", "lower triangle"),
        (b"<ZERO_ACCS>  [ ", b"<ZERO_ACCS>  [ -", "a negative count"),
        (b"<ZERO_ACCS>  [ ", b"<ZERO_ACCS>  [ 1 ", "for 3 classes"),
        (b"<ZERO_ACCS>  [ ", b"<ZERO_ACCS>  [ 1e999", "not a number"),
        (b"<FIRST_ACCS>", b"<FIRST>", "expected <FIRST_ACCS>"),
    ],
)
def test_damaged_statistics_are_an_error(corpus, old, new, message) -> None:
    where, features, ids = corpus
    save_accumulator(where / "acc", expected(features, ids), binary=False)
    data = (where / "acc").read_bytes()
    assert old in data
    (where / "acc").write_bytes(data.replace(old, new))
    with pytest.raises(DktError, match=message):
        load_accumulator(where / "acc")


def test_kaldis_posteriors_and_alignments_give_one_result(kaldi_fixtures, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(kaldi_fixtures)
    for kind, options in (("post", []), ("ali", ["--ali"])):
        tables = ["scp:data/dev/feats.scp", f"ark:golden/tables/{kind}_binary.ark", f"{tmp_path}/{kind}"]
        assert main(["acc-lda", *options, "--max-dropped=0.6", "exp/tri2b_ali/final.mdl", *tables]) == 0
    assert (tmp_path / "post").read_bytes() == (tmp_path / "ali").read_bytes()
    stats = load_accumulator(tmp_path / "post")
    assert stats.first.shape == (624, 40) and stats.counts.sum() > 10000


def real_stats(kaldi_fixtures: Path, corpora: Path, every: int) -> LdaAccumulator:
    """MFCC of some training utterances, as Kaldi's LDA reads them: CMN a speaker, spliced, no silence."""
    folder = corpora / "speechocean762"
    extractor = FeatureExtractor("mfcc", read_config(kaldi_fixtures / "golden/features/mfcc.conf"))
    wavs = list(read_script(str(folder / "train/wav.scp")).items())[::every]
    raw = {u: extractor.compute(*read_audio(str(folder / f), u), str(folder / f), u) for u, f in wavs}
    speakers: dict[str, np.ndarray] = {}
    for utt, features in raw.items():
        speakers[utt[:4]] = speakers.get(utt[:4], 0) + cmvn_stats(features)
    ali = AlignmentDir(kaldi_fixtures / "exp/tri2b_ali")
    ids = {utt: own for utt, own in ali.transition_ids() if utt in raw}
    silence = [int(x) for x in (kaldi_fixtures / "lang/phones/silence.csl").read_text().split(":")]
    model = ali.transitions
    return accumulate_spliced(
        ((apply_cmvn(raw[utt], speakers[utt[:4]]), model.id2pdf[ids[utt]]) for utt in raw),
        next(iter(raw.values())).shape[1],
        *(3, 3),
        num_pdfs=ali.num_pdfs,
        weights=(1.0 - np.isin(model.id2phone[ids[utt]], silence) for utt in raw),
    )


def test_real_speech_gives_the_subspace_of_kaldis_final_mat(kaldi_fixtures, corpora) -> None:
    # final.mat is MLLT times the LDA of an earlier alignment of all the data: the same subspace, nearly.
    stats = real_stats(kaldi_fixtures, corpora, every=3)
    kaldi = ObjectReader.open(kaldi_fixtures / "exp/tri2b_ali/final.mat").matrix().astype(np.float64)
    within, between, _ = stats.covariances()
    principal = np.linalg.eigh(within + between)[1].T[-40:]
    root = np.linalg.cholesky(within)
    bases = [np.linalg.qr((rows @ root).T)[0] for rows in (kaldi, stats.estimate(40), principal)]

    def discrimination(basis: np.ndarray) -> float:
        whitened = np.linalg.solve(root, np.linalg.solve(root, between).T)
        return float(np.trace(basis.T @ whitened @ basis))

    best, share = discrimination(bases[1]), [discrimination(basis) for basis in bases]
    # Ours is the maximum, Kaldi's next to it (0.994 here), that of principal components is not (0.949).
    assert best == max(share) and share[0] > 0.99 * best and share[2] < 0.97 * best
    ours, control = (np.linalg.svd(bases[0].T @ basis, compute_uv=False) for basis in bases[1:])
    # Mean squared cosine of the principal angles: 0.941, of principal components 0.782, by chance 40/91.
    assert (ours**2).mean() > 0.92 > 0.85 > (control**2).mean()
    assert ours[29] > 0.96 > control[29]
