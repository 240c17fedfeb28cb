"""Networks of nnet3 as teachers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dkt.base.errors import DktError
from dkt.feat.pipeline import FeatureOptions
from dkt.nnet.nnet3.scorer import Nnet3Scorer
from dkt.nnet.scorer import OutputOptions, load_scorer
from dkt.util.table import read_matrices
from tests.nnet.test_nnet3 import ivectors_of


def scored(scorer, golden, ivectors=None, period=10):
    """Outputs of both utterances, i-vectors at the end of each frame."""
    vectors = ivectors_of(golden / "nnet3_more", ivectors)
    for utt, features in read_matrices(f"ark:{golden}/nnet1/input_cmn.ark"):
        if ivectors is not None:
            of_frame = np.repeat(
                np.atleast_2d(vectors[utt]), 10_000 if vectors[utt].ndim == 1 else period, axis=0
            )
            last = np.repeat(of_frame[-1:], max(0, len(features) - len(of_frame)), axis=0)
            rows = np.concatenate([of_frame, last])[: len(features)]
            features = np.concatenate([features, rows], axis=1)
        yield utt, scorer(features.astype(np.float32))


def test_posteriors_are_kaldis(kaldi_fixtures):
    golden = kaldi_fixtures / "golden"
    theirs = dict(read_matrices(f"ark:{golden}/nnet3_lstm/log_posteriors.ark"))
    path = str(golden / "nnet3_lstm/lstm.raw")
    cpu = torch.device("cpu")
    for options, change in (
        (OutputOptions(), torch.log),
        (OutputOptions(apply_log=True), lambda x: x),
        (OutputOptions(no_softmax=True), lambda x: x),
    ):
        scorer = load_scorer(path, options, cpu)
        assert (scorer.input_dim, scorer.output_dim, scorer.pipeline) == (40, 624, FeatureOptions())
        for utt, outputs in scored(scorer, golden):
            np.testing.assert_allclose(change(outputs).numpy(), theirs[utt], atol=1e-4)


@pytest.mark.parametrize(
    ("ivectors", "expected"),
    [("ivectors.ark", "tdnnf_output"), ("ivectors_online_period10.ark", "tdnnf_output_online_ivectors")],
)
def test_ivectors_stand_at_the_end_of_frames(kaldi_fixtures, ivectors, expected):
    golden = kaldi_fixtures / "golden"
    theirs = dict(read_matrices(f"ark:{golden}/nnet3_more/{expected}.ark"))
    scorer = Nnet3Scorer(golden / "nnet3_more/tdnnf.raw", no_softmax=True)
    assert scorer.input_dim == 48
    for utt, outputs in scored(scorer, golden, ivectors):
        np.testing.assert_allclose(outputs[:, :64].numpy(), theirs[utt], atol=1e-4)


def test_every_third_frame_is_repeated(kaldi_fixtures):
    golden = kaldi_fixtures / "golden"
    theirs = dict(read_matrices(f"ark:{golden}/nnet3_more/tdnnf_output_xent_every_third.ark"))
    scorer = Nnet3Scorer(golden / "nnet3_more/tdnnf.raw", True, False, "output-xent", 3)
    for utt, outputs in scored(scorer, golden, "ivectors.ark"):
        for first in range(3):
            part = outputs[first::3, :64].numpy()
            np.testing.assert_allclose(part, theirs[utt][: len(part)], atol=1e-4)


def test_faults_name_the_file(kaldi_fixtures, tmp_path):
    golden = kaldi_fixtures / "golden"
    raw = golden / "nnet3_lstm/lstm.raw"
    with pytest.raises(DktError, match=f"^{raw}: the network has no output 'output-xent'"):
        Nnet3Scorer(raw, output="output-xent")
    bad = tmp_path / "bad.raw"
    bad.write_bytes(raw.read_bytes()[:5000])
    with pytest.raises(DktError, match=f"^{bad}: component 'lstm1.W_all'"):
        load_scorer(str(bad), OutputOptions(), torch.device("cpu"))
    gmm = kaldi_fixtures / "exp/tri2b/final.mdl"
    with pytest.raises(DktError, match=f"^{gmm}: expected a network of nnet3, found a GMM model"):
        load_scorer(str(gmm), OutputOptions(), torch.device("cpu"))
