"""Directories of Kaldi's nnet3 as teachers: dkt forward, dkt make-soft-targets and its step."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.feat.pipeline import FeatureOptions
from dkt.nnet.nnet3.directory import Nnet3Options, network_file, nnet3_features
from dkt.targets.store import TargetDir
from dkt.util.table import MatrixWriter, read_matrices
from tests import shell


@pytest.fixture
def golden(kaldi_fixtures: Path) -> Path:
    return kaldi_fixtures / "golden"


@pytest.fixture
def place(golden: Path, tmp_path: Path) -> Path:
    """A data directory, and a chain model's directory at a third of the frames."""
    for name in ("data", "chain"):
        (tmp_path / name).mkdir()
    with MatrixWriter(f"ark,scp:{tmp_path}/data/feats.ark,{tmp_path}/data/feats.scp") as writer:
        utts = []
        for utt, features in read_matrices(f"ark:{golden}/nnet1/input_cmn.ark"):
            writer.write(utt, features)
            utts.append(utt)
    (tmp_path / "data/utt2spk").write_text("".join(f"{utt} {utt}\n" for utt in utts))
    (tmp_path / "data/spk2utt").write_text("".join(f"{utt} {utt}\n" for utt in utts))
    shutil.copy(golden / "nnet3_more/tdnnf.raw", tmp_path / "chain/final.raw")
    (tmp_path / "chain/frame_subsampling_factor").write_text("3\n")
    return tmp_path


def run(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 1
    return capsys.readouterr().err


def every_third(golden: Path) -> dict[str, np.ndarray]:
    """What Kaldi computed, of the first 64 outputs, each row three times."""
    table = read_matrices(f"ark:{golden}/nnet3_more/tdnnf_output_xent_every_third.ark")
    return {utt: np.repeat(outputs, 3, axis=0) for utt, outputs in table}


def test_a_chain_model_is_forwarded_at_a_third_of_the_frames(golden: Path, place: Path) -> None:
    expected, out = every_third(golden), f"ark:{place}/out.ark"
    ivectors = f"--ivectors=ark:{golden}/nnet3_more/ivectors.ark"
    options = ["--no-softmax=true", "--nnet3-output=output-xent", ivectors]
    for model in (place / "chain", place / "chain/final.raw"):
        run("forward", *options, model, place / "data", out)
        for utt, outputs in read_matrices(out):
            np.testing.assert_allclose(outputs[:, :64], expected[utt][: len(outputs)], atol=1e-4)
    run("forward", *options, "--frame-subsampling-factor=1", place / "chain", place / "data", out)
    whole = dict(read_matrices(out))
    for utt, rows in read_matrices(f"ark:{golden}/nnet3_more/tdnnf_output_xent.ark"):
        np.testing.assert_allclose(whole[utt][:, :64], rows, atol=1e-4)


def test_soft_targets_are_those_of_the_outputs(golden: Path, place: Path) -> None:
    ivectors = f"--ivectors=ark:{golden}/nnet3_more/ivectors.ark"
    options = ["--nnet3-output=output-xent", ivectors]
    run("make-soft-targets", *options, "--top-k=5", place / "chain", place / "data", place / "soft")
    run("forward", "--apply-log=true", *options, place / "chain", place / "data", f"ark:{place}/log.ark")
    targets = TargetDir(place / "soft")
    for utt, log_post in read_matrices(f"ark:{place}/log.ark"):
        found = targets.read(utt, len(log_post))
        np.testing.assert_array_equal(found.best(), log_post.argmax(axis=1))
        np.testing.assert_allclose(found.log_post[:, 0], log_post.max(axis=1), rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(found.pdfs[0], found.pdfs[2])
    header = yaml.safe_load((place / "soft/header.yaml").read_text())
    assert header["teacher"]["output"] == "output-xent"
    assert header["teacher"]["frame_subsampling_factor"] == 3
    # Another output is another teacher.
    run("make-soft-targets", ivectors, "--top-k=5", place / "chain", place / "data", place / "other")
    assert TargetDir(place / "other").header.fingerprint != targets.header.fingerprint


def test_the_step_takes_the_directory(golden: Path, place: Path) -> None:
    call = ["steps/make_soft_targets.sh", "--nj", "1", "--top-k", "5"]
    call += ["--ivectors", f"ark:{golden}/nnet3_more/ivectors.ark"]
    names = ["data", "chain", "soft"]
    shell.succeed(place, *call, "--nnet3-output", "output-xent", *names)
    assert TargetDir(place / "soft").header.teacher["output"] == "output-xent"
    assert "done already" in shell.succeed(place, *call, "--nnet3-output", "output-xent", *names)
    mark = (place / "soft/.make_soft_targets.done").read_text()
    assert "nnet3_output=output-xent\n" in mark and "../chain/frame_subsampling_factor" in mark
    (place / "chain/frame_subsampling_factor").write_text("1\n")
    assert "done already" not in shell.succeed(place, *call, *names)
    assert TargetDir(place / "soft").header.teacher["frame_subsampling_factor"] == 1
    (place / "chain/final.raw").unlink()
    assert "no file 'chain/final.pt'" in shell.fails(place, *call, *names)


def test_options_of_nnet3_are_refused_elsewhere(
    kaldi_fixtures: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nnet1 = next((kaldi_fixtures / "golden/nnet1").glob("*.nnet"))
    for option in ("--nnet3-output=output-xent", "--frame-subsampling-factor=3"):
        source = f"scp:{place}/data/feats.scp"
        message = refused(capsys, "forward", option, nnet1, source, f"ark:{place}/out")
        assert f"{nnet1}: is no network of nnet3" in message
    message = refused(capsys, "make-soft-targets", nnet1, place / "data", place / "soft")
    assert "is not a model file of dkt, nor a network of nnet3" in message
    message = refused(
        capsys, "forward", "--nnet3-output=x", place / "chain", place / "data", f"ark:{place}/o"
    )
    assert f"{place}/chain/final.raw: the network has no output 'x', it has output, output-xent" in message
    message = refused(capsys, "forward", place / "chain", place / "data", f"ark:{place}/o")
    assert "--ivectors" in message
    (place / "chain/frame_subsampling_factor").write_text("0\n")
    message = refused(capsys, "forward", place / "chain", place / "data", f"ark:{place}/o")
    assert f"{place}/chain/frame_subsampling_factor: expected a number from 1 on, found '0'" in message


def test_the_network_of_a_directory(kaldi_fixtures: Path, place: Path) -> None:
    assert network_file(place / "chain") == place / "chain/final.raw"
    assert network_file(kaldi_fixtures / "exp/tri2b") == kaldi_fixtures / "exp/tri2b/final.pt", "a GMM"
    for name in ("final.nnet", "final.pt"):
        (place / "chain" / name).touch()
        assert network_file(place / "chain") == place / "chain/final.pt"
        (place / "chain" / name).unlink()
    assert Nnet3Options().factor_of(place / "chain/final.raw") == 3
    assert Nnet3Options("output", 2).factor_of(place / "chain/final.raw") == 2
    assert Nnet3Options().factor_of(place / "final.raw") == 1


def test_features_are_as_kaldis_scripts_say(place: Path) -> None:
    network = place / "chain/final.raw"
    assert nnet3_features(network, 8) == FeatureOptions(ivector_dim=8)
    (place / "chain/cmvn_opts").write_text("--norm-means=true --norm-vars=false\n")
    assert nnet3_features(network, 0).cmvn_opts == "--norm-means=true --norm-vars=false"
    (place / "chain/online_cmvn").touch()
    with pytest.raises(DktError, match=r"global_cmvn\.stats"):
        nnet3_features(network, 0)
    (place / "chain/global_cmvn.stats").write_text("[ 1 2 3\n 4 5 6 ]\n")
    online = nnet3_features(network, 0)
    assert online.cmvn_opts is None
    options = online.parse_online_cmvn("here")
    assert options is not None and options[1], "from utterance to utterance of a speaker"
