"""Alignment directories, counts and priors, against Kaldi's own output."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from dkt.alignments import AlignmentDir, count_pdfs, load_counts, log_priors, save_counts
from dkt.errors import DktError
from dkt.objectio import ObjectWriter
from dkt.tables import IntVectorWriter
from dkt.transitions import write_transition_model
from tests.test_transitions import two_phone_model


@pytest.fixture
def ali_dir(tmp_path):
    """Two jobs of one utterance each, on a model of three pdfs."""
    writer = ObjectWriter()
    write_transition_model(writer, two_phone_model())
    writer.save(tmp_path / "final.mdl")
    (tmp_path / "num_jobs").write_text("2\n")
    for job, ids in [(1, [1, 1, 2]), (2, [3, 4, 5, 6])]:
        with IntVectorWriter(f"ark:| gzip -c > {tmp_path}/ali.{job}.gz") as ali:
            ali.write(f"u{job}", np.array(ids))
    return tmp_path


def test_transition_ids_become_pdfs(ali_dir):
    pdfs = AlignmentDir(ali_dir).pdfs()
    assert pdfs["u1"].tolist() == [0, 0, 0]
    assert pdfs["u2"].tolist() == [1, 1, 2, 2]


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


def _no_model(ali_dir):
    (ali_dir / "final.mdl").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_job, r"ali\.2\.gz: does not exist"),
        (_cut, r"ali\.2\.gz"),
        (_foreign, r"ali\.2\.gz: utterance 'u2': transition-ids from 77"),
        (_twice, "utterance 'u1': is aligned twice"),
        (_chain, "chain model"),
        (_no_model, r"final\.mdl"),
    ],
)
def test_bad_alignment_directories(ali_dir, spoil, message):
    spoil(ali_dir)
    with pytest.raises(DktError, match=message):
        AlignmentDir(ali_dir).pdfs()
