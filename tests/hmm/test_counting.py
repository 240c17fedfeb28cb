"""analyze-counts: counts of labels as Kaldi makes them, and sums of posteriors."""

from __future__ import annotations

import gzip
import io
import struct

import numpy as np
import pytest

from dkt.bin import main
from dkt.hmm.counts import load_counts, read_real
from dkt.hmm.posterior import Posterior, PosteriorWriter
from dkt.nnet.pdf_prior import log_priors
from dkt.util.table import IntVectorWriter, MatrixWriter, read_matrices

#: Two frames, and one frame; their mean is (0.5, 0.3, 0.2).
POSTERIORS = {"u1": [[0.5, 0.25, 0.25], [0.75, 0.25, 0.0]], "u2": [[0.25, 0.4, 0.35]]}


@pytest.fixture
def folder(tmp_path):
    """Labels of two utterances, none of them 1; posteriors of three pdfs."""
    with IntVectorWriter(f"ark:{tmp_path}/ali") as ali:
        ali.write("u1", np.array([0, 0, 2]))
        ali.write("u2", np.array([3]))
    with MatrixWriter(f"ark:{tmp_path}/post") as writer:
        for utt, rows in POSTERIORS.items():
            writer.write(utt, np.array(rows, dtype=np.float32))
    return tmp_path


def analyze(folder, *options, table="ali", status=0):
    assert main(["analyze-counts", *options, f"ark:{folder}/{table}", f"{folder}/counts"]) == status
    return (folder / "counts").read_bytes() if status == 0 else b""


def failed(folder, capfd, *options, table="ali") -> str:
    analyze(folder, *options, table=table, status=1)
    return capfd.readouterr().err.splitlines()[-1]


def test_counts_of_kaldi(kaldi_fixtures, tmp_path):
    (tmp_path / "ali").write_bytes(gzip.decompress((kaldi_fixtures / "golden/train_pdf.txt.gz").read_bytes()))
    assert analyze(tmp_path) == (kaldi_fixtures / "golden/ali_train_pdf.counts").read_bytes()


def test_every_label_gets_half_a_frame_and_gaps_are_told(folder, caplog):
    assert analyze(folder) == b" [ 2.5 0.5 1.5 1.5 ]\n"
    assert "Zero count for 1 labels (1)" in caplog.text


def test_counts_dim_is_a_hint(folder, caplog):
    assert analyze(folder, "--counts-dim=6") == b" [ 2.5 0.5 1.5 1.5 0.5 0.5 ]\n"
    assert "beyond" not in caplog.text
    assert analyze(folder, "--counts-dim=3") == b" [ 2.5 0.5 1.5 1.5 ]\n"
    assert "utterance 'u2' has label 3, beyond --counts-dim=3" in caplog.text


@pytest.mark.parametrize("option", ["--binary", "--binary=true"])
def test_binary_counts_are_doubles(folder, option):
    assert analyze(folder, option) == b"\0BDV \4" + struct.pack("<i4d", 4, 2.5, 0.5, 1.5, 1.5)
    assert load_counts(folder / "counts").tolist() == [2.5, 0.5, 1.5, 1.5]
    assert analyze(folder, "--binary=false").startswith(b" [ ")


def test_weights_of_frames_and_utterances(folder):
    (folder / "frames").write_text("u1 [ 1 0.5 0.25 ]\nu2 [ 2 ]\n")
    (folder / "utts").write_text("u1 2\nu2 0.25\n")
    assert analyze(folder, f"--frame-weights=ark:{folder}/frames") == b" [ 2 0.5 0.75 2.5 ]\n"
    assert analyze(folder, f"--utt-weights=ark:{folder}/utts") == b" [ 4.5 0.5 2.5 0.75 ]\n"
    both = [f"--frame-weights=ark:{folder}/frames", f"--utt-weights=ark:{folder}/utts"]
    assert analyze(folder, *both) == b" [ 3.5 0.5 1 1 ]\n"


def test_utterances_without_weights_are_left_out_and_counted(folder, capfd):
    (folder / "utts").write_text("u1 1\n")
    weights = f"--utt-weights=ark:{folder}/utts"
    assert "1 of 2 utterances were dropped" in failed(folder, capfd, weights)
    assert analyze(folder, weights, "--max-dropped=0.5") == b" [ 2.5 0.5 1.5 ]\n"
    (folder / "frames").write_text("u1 [ 1 0.5 ]\nu2 [ 2 ]\n")
    message = failed(folder, capfd, f"--frame-weights=ark:{folder}/frames")
    assert "frames: utterance 'u1': 2 weights for 3 frames" in message


def test_the_table_of_counts(folder, caplog):
    (folder / "symbols").write_text("a 0\nb 1\nd 3\n")
    with caplog.at_level("INFO"):
        analyze(folder, f"--symbol-table={folder}/symbols")
    assert "\n0\t(0),\t1\t(b)\n1\t(0.25),\t2\t()\n1\t(0.25),\t3\t(d)\n2\t(0.5),\t0\t(a)\n" in caplog.text
    assert "#total 4 (1.11111e-05h)" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        analyze(folder, "--verbose=1")
    assert "\n2\t(0.5),\t0\t\n" in caplog.text


@pytest.mark.parametrize(("label", "found"), [(-1, "from -1 to 0"), (2**31 - 1, "from 0 to 2147483647")])
def test_impossible_labels(folder, capfd, label, found):
    with IntVectorWriter(f"ark:{folder}/ali") as ali:
        ali.write("u1", np.array([0, label]))
    assert f"utterance 'u1': labels {found}" in failed(folder, capfd)


@pytest.mark.parametrize(
    "data", [b" 0.25\n", b"0.25 \n", b"\0B\4" + struct.pack("<f", 0.25), b"\0B\x08" + struct.pack("<d", 0.25)]
)
def test_real_numbers_of_a_table(data):
    stream = io.BytesIO(data + b"next")
    assert (read_real(stream), stream.read()) == (0.25, b"next")


@pytest.mark.parametrize("data", ["u1 1 2\nu2 1\n", "u1 \0B\4\0", "u1 \0B\1\0", "u1 \0X\4\0\0\0\0", "u1 \0B"])
def test_damaged_weights(folder, capfd, data):
    (folder / "utts").write_text(data)
    assert "utts: utterance 'u1': " in failed(folder, capfd, f"--utt-weights=ark:{folder}/utts")


def test_priors_are_the_mean_posterior(folder):
    assert analyze(folder, "--posteriors=true", table="post") == b" [ 1.5 0.9 0.6 ]\n"
    priors = log_priors(load_counts(folder / "counts"))
    mean = np.concatenate(list(POSTERIORS.values())).mean(axis=0)
    np.testing.assert_allclose(np.exp(priors), mean, rtol=1e-6)


def test_priors_are_the_mean_posterior_of_kaldi_network(kaldi_fixtures, tmp_path):
    rspecifier = f"ark:{kaldi_fixtures}/golden/nnet1/posteriors.ark"
    assert main(["analyze-counts", "--posteriors", rspecifier, f"{tmp_path}/counts"]) == 0
    frames = np.concatenate([posteriors for _, posteriors in read_matrices(rspecifier)]).astype(np.float64)
    priors = log_priors(load_counts(tmp_path / "counts"))
    np.testing.assert_allclose(np.exp(priors.astype(np.float64)), frames.mean(axis=0), rtol=2e-6)


def test_log_posteriors_and_weighted_posteriors(folder):
    with MatrixWriter(f"ark:{folder}/log_post") as writer, np.errstate(divide="ignore"):
        for utt, rows in POSTERIORS.items():
            writer.write(utt, np.log(np.array(rows, dtype=np.float32)))
    analyze(folder, "--posteriors", "--apply-exp=true", table="log_post")
    np.testing.assert_allclose(load_counts(folder / "counts"), [1.5, 0.9, 0.6], rtol=1e-6)
    (folder / "utts").write_text("u1 2\nu2 0\n")
    assert (
        analyze(folder, "--posteriors", f"--utt-weights=ark:{folder}/utts", table="post")
        == b" [ 2.5 1 0.5 ]\n"
    )


def test_posteriors_of_the_posterior_type(folder, capfd):
    with PosteriorWriter(f"ark:{folder}/post") as writer:
        writer.write("u1", Posterior.of_frames([[(0, 0.5), (2, 0.5)], [(2, 1.0)]]))
    assert analyze(folder, "--posteriors", "--counts-dim=4", table="post") == b" [ 0.5 0 1.5 0 ]\n"
    (folder / "frames").write_text("u1 [ 1 0.5 ]\n")
    weights = f"--frame-weights=ark:{folder}/frames"
    assert analyze(folder, "--posteriors", "--counts-dim=3", weights, table="post") == b" [ 0.5 0 1 ]\n"
    assert "give --counts-dim" in failed(folder, capfd, "--posteriors", table="post")
    message = failed(folder, capfd, "--posteriors", "--counts-dim=2", table="post")
    assert "post: utterance 'u1': posteriors of ids from 0 to 2, expected pdfs from 0 to 1" in message
    options = ["--posteriors", "--counts-dim=3", "--apply-exp"]
    assert "--apply-exp is for matrices" in failed(folder, capfd, *options, table="post")


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([[0.5, 0.2, 0.2]], [], "the posteriors of frame 0 sum to 0.9, expected 1"),
        ([[0.5, 0.3, 0.2], [2.0, 1.0, 0.0]], [], "the posteriors of frame 1 sum to 3, expected 1"),
        (
            [[-0.5, 1.0, 0.5]],
            [],
            "a posterior is -0.5, expected none below 0 - log-posteriors need --apply-exp",
        ),
        ([[0.0, 1000.0, -1.0]], ["--apply-exp"], "the posteriors of frame 0 sum to inf, expected 1"),
        ([[0.5, 0.5, np.nan]], [], "a posterior is not a number"),
        ([[0.5, 0.5]], ["--counts-dim=3"], "posteriors of shape (1, 2), expected 3 pdfs"),
    ],
)
def test_what_are_no_posteriors(folder, capfd, rows, options, message):
    with MatrixWriter(f"ark:{folder}/post") as writer:
        writer.write("u1", np.array(rows, dtype=np.float32))
    told = failed(folder, capfd, "--posteriors", *options, table="post")
    assert f"post: utterance 'u1': {message}" in told


def test_posteriors_of_two_networks(folder, capfd):
    with MatrixWriter(f"ark:{folder}/post") as writer:
        writer.write("u1", np.array([[0.5, 0.25, 0.25]], dtype=np.float32))
        writer.write("u2", np.array([[0.5, 0.5]], dtype=np.float32))
    message = failed(folder, capfd, "--posteriors", table="post")
    assert "utterance 'u2': posteriors of shape (1, 2), expected 3 pdfs" in message


def test_wrong_calls(folder, capfd):
    assert "add --posteriors=true" in failed(folder, capfd, "--apply-exp")
    with pytest.raises(SystemExit):
        analyze(folder, "--counts-dim=-1")
    (folder / "ali").write_bytes(b"")
    assert "no utterance could be used" in failed(folder, capfd)
