"""Alignment directories, counts and priors, against Kaldi's own output."""

from __future__ import annotations

import gzip
import tracemalloc

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.hmm.alignments import AlignmentDir
from dkt.hmm.counts import count_pdfs, load_counts, save_counts
from dkt.hmm.transition_model import write_transition_model
from dkt.nnet.pdf_prior import log_priors
from dkt.util.object_io import ObjectWriter
from dkt.util.table import IntVectorWriter, read_matrices
from tests.hmm.test_transitions import two_phone_model


def save_model(path, chain=False):
    """A model of two phones and three pdfs."""
    writer = ObjectWriter()
    write_transition_model(writer, two_phone_model(chain))
    writer.save(path)


@pytest.fixture
def ali_dir(tmp_path):
    """Two jobs of one utterance each, on a model of three pdfs."""
    save_model(tmp_path / "final.mdl")
    (tmp_path / "num_jobs").write_text("2\n")
    for job, ids in [(1, [1, 1, 2]), (2, [3, 4, 5, 6])]:
        with IntVectorWriter(f"ark:| gzip -c > {tmp_path}/ali.{job}.gz") as ali:
            ali.write(f"u{job}", np.array(ids))
    return tmp_path


def test_transition_ids_become_pdfs(ali_dir):
    pdfs = AlignmentDir(ali_dir).pdfs()
    assert pdfs["u1"].tolist() == [0, 0, 0]
    assert pdfs["u2"].tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("text", [False, True])
def test_jobs_may_be_binary_or_text(ali_dir, text):
    kind = "ark,t" if text else "ark"
    with IntVectorWriter(f"{kind}:| gzip -c > {ali_dir}/ali.1.gz") as ali:
        ali.write("v", np.array([3, 4, 6]))
    assert {utt: ids.tolist() for utt, ids in AlignmentDir(ali_dir).pdfs().items()} == {
        "v": [1, 1, 2],
        "u2": [1, 1, 2, 2],
    }


def test_a_name_that_a_shell_would_take_apart(ali_dir):
    path = ali_dir.parent / "it's $HOME"
    ali_dir.rename(path)
    assert list(AlignmentDir(path).pdfs()) == ["u1", "u2"]


def test_counts_have_a_half_frame_and_come_back(ali_dir, tmp_path):
    counts = count_pdfs(AlignmentDir(ali_dir).pdfs().values(), 3)
    assert counts.tolist() == [3.5, 2.5, 2.5]
    save_counts(tmp_path / "counts", counts)
    assert (tmp_path / "counts").read_text() == " [ 3.5 2.5 2.5 ]\n"
    np.testing.assert_array_equal(load_counts(tmp_path / "counts"), counts)


def test_priors_sum_to_one_and_a_rare_pdf_is_disabled():
    priors = log_priors(np.array([6.0, 2.0, 0.0]))
    np.testing.assert_allclose(np.exp(priors[:2]), [0.75, 0.25], rtol=1e-6)
    assert priors[2] == pytest.approx(np.sqrt(np.finfo(np.float32).max))


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_a_label_beyond_the_pdfs_of_the_model(labels):
    with pytest.raises(DktError, match=rf"labels from {min(labels)} to {max(labels)}, .* has pdfs 0 to 2"):
        count_pdfs([np.array([0, 1]), np.array(labels)], 3)


@pytest.mark.parametrize("text", [" [ 1 -1 ]", " [ 0 0 ]", " [ ]", " [ 1 nan ]", " [ 1 inf ]", "1 2"])
def test_what_are_no_counts(tmp_path, text):
    (tmp_path / "counts").write_text(text + "\n")
    with pytest.raises(DktError, match="counts: "):
        load_counts(tmp_path / "counts")


def test_kaldi_network_output_minus_priors(kaldi_fixtures):
    """Kaldi's log-likelihoods are its log-posteriors less our log-priors, up to a constant a frame."""
    golden = kaldi_fixtures / "golden/nnet1"
    priors = log_priors(load_counts(golden / "ali_train_pdf.counts"))
    loglikes = dict(read_matrices(f"ark:{golden}/loglikes.ark"))
    num_frames = 0
    for utt, posteriors in read_matrices(f"ark:{golden}/posteriors.ark"):
        difference = np.log(posteriors) - priors - loglikes[utt]
        np.testing.assert_allclose(difference, np.tile(difference[:, :1], len(priors)), atol=2e-5)
        num_frames += len(posteriors)
    assert num_frames == 626


def test_kaldi_alignments_and_counts(kaldi_fixtures, tmp_path):
    ali = AlignmentDir(kaldi_fixtures / "exp/tri2b_ali")
    pdfs = ali.pdfs()
    with gzip.open(kaldi_fixtures / "golden/train_pdf.txt.gz", "rt") as lines:
        golden = {words[0]: [int(w) for w in words[1:]] for words in map(str.split, lines)}
    assert {utt: ids.tolist() for utt, ids in pdfs.items()} == golden
    save_counts(tmp_path / "counts", count_pdfs(pdfs.values(), ali.num_pdfs))
    assert (tmp_path / "counts").read_text() == (kaldi_fixtures / "golden/ali_train_pdf.counts").read_text()


def _no_job(ali_dir):
    (ali_dir / "ali.2.gz").unlink()


def _cut(ali_dir):
    data = (ali_dir / "ali.2.gz").read_bytes()
    (ali_dir / "ali.2.gz").write_bytes(data[:-12])


def _foreign(ali_dir):
    with IntVectorWriter(f"ark:| gzip -c > {ali_dir}/ali.2.gz") as ali:
        ali.write("u2", np.array([77]))


def _twice(ali_dir):
    (ali_dir / "ali.2.gz").write_bytes((ali_dir / "ali.1.gz").read_bytes())


def _chain(ali_dir):
    (ali_dir / "frame_subsampling_factor").write_text("3\n")


def _chain_topology(ali_dir):
    save_model(ali_dir / "final.mdl", chain=True)


def _cut_model(ali_dir):
    data = (ali_dir / "final.mdl").read_bytes()
    (ali_dir / "final.mdl").write_bytes(data[: len(data) // 2])


def _no_model(ali_dir):
    (ali_dir / "final.mdl").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_job, r"ali\.2\.gz: does not exist"),
        (_cut, r"ali\.2\.gz"),
        (_foreign, r"ali\.2\.gz: utterance 'u2': transition-ids from 77"),
        (_twice, "utterance 'u1': is aligned twice"),
        (_chain, r"frame_subsampling_factor: .* chain model, .* align with the GMM"),
        (_chain_topology, r"final\.mdl: .* chain model, .* align with the GMM .* echo 1 > "),
        (_cut_model, r"final\.mdl: the file is cut short"),
        (_no_model, r"final\.mdl"),
    ],
)
def test_bad_alignment_directories(ali_dir, spoil, message):
    spoil(ali_dir)
    with pytest.raises(DktError, match=message):
        AlignmentDir(ali_dir).pdfs()


def test_a_chain_topology_with_a_label_a_frame(ali_dir):
    save_model(ali_dir / "final.mdl", chain=True)
    (ali_dir / "frame_subsampling_factor").write_text("1\n")
    (ali_dir / "num_jobs").write_text("1\n")
    with IntVectorWriter(f"ark:| gzip -c > {ali_dir}/ali.1.gz") as ali:
        ali.write("u1", np.array([4, 3, 2, 1]))
    # The arc out of the chain-like state has one pdf, its self-loop another.
    assert AlignmentDir(ali_dir).pdfs()["u1"].tolist() == [1, 2, 0, 0]


def test_alignments_of_another_topology_are_told(ali_dir, caplog):
    """In range, but the second state of phone 2 is not where a phone begins."""
    list(AlignmentDir(ali_dir).transition_ids())
    assert not caplog.text
    with IntVectorWriter(f"ark:| gzip -c > {ali_dir}/ali.2.gz") as ali:
        ali.write("u2", np.array([1, 2, 5, 6]))
        ali.write("u3", np.array([1, 2, 4, 6]))
    assert AlignmentDir(ali_dir).pdfs()["u2"].tolist() == [0, 0, 2, 2]
    message = "1 of 2 alignments are not paths through the HMMs of the model (utterance 'u2', frame 3 first)"
    assert f"{ali_dir}/ali.2.gz: {message}" in caplog.text


def test_a_number_of_jobs_that_there_are_no_files_for(ali_dir):
    (ali_dir / "num_jobs").write_text("99999999\n")
    tracemalloc.start()
    with pytest.raises(DktError, match=r"ali\.3\.gz: does not exist, num_jobs is 99999999"):
        AlignmentDir(ali_dir)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["text", "binary", "garbage"])
def test_alignments_that_fill_the_memory_are_refused(ali_dir, kind):
    """Two megabytes that become gigabytes."""
    item = {"text": b"1 ", "binary": b"\x04\x01\0\0\0", "garbage": b"\0"}[kind]
    head = {"text": b"u1 ", "binary": b"u1 \0B\x04\xff\xff\xff\x7f", "garbage": b"u1 "}[kind]
    piece = gzip.compress(item * ((1 << 24) // len(item)))
    (ali_dir / "ali.1.gz").write_bytes(gzip.compress(head) + piece * 100)
    tracemalloc.start()
    with pytest.raises(DktError, match=r"ali\.1\.gz: .*(no utterance|no data do that|zero byte)"):
        AlignmentDir(ali_dir).pdfs()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 29
