"""Directories of dkt in Kaldi's own steps/nnet scripts: the files they ask for, the command they call."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.feat.pipeline import FeatureOptions, MatrixFile
from dkt.feat.reader import FeatureReader
from dkt.feat.speaker_inputs import SpeakerInputs
from dkt.nnet.model_file import ModelInfo, build_network
from dkt.nnet.nnet1 import components as nnet1
from dkt.nnet.nnet1.components import read_nnet1
from dkt.nnet.nnet1.feature_transform import feature_transform
from dkt.nnet.nnet1.network import Nnet1
from dkt.train import experiment
from dkt.util.data_dir import DataDir
from dkt.util.table import MatrixWriter, VectorWriter, read_matrices
from tests.hmm.test_transitions import two_phone_model
from tests.shell import BIN, ROOT
from tests.student_lab import CPU, DNN, LSTM
from tests.synthetic import FEATURE_DIM, random_corpus, write_ali_dir, write_data_dir

RNG = np.random.default_rng(6)
COMPAT = ROOT / "steps/compat"
NETWORK = {"kind": "dnn", "num_pdfs": 3, "left_context": 1, "right_context": 0}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data, alignments, a matrix with an offset, i-vectors of the speakers."""
    path = tmp_path_factory.mktemp("place")
    for name, prefix, seed in (("train", "t", 1), ("dev", "d", 2)):
        features, alignments = random_corpus(seed, prefix, 20)
        write_data_dir(path / name, dict(sorted(features.items())))
        write_ali_dir(path / f"ali_{name}", two_phone_model(), alignments)
        speakers = sorted({utt.split("-")[0] for utt in features})
        with VectorWriter(f"ark:{path}/ivectors_{name}.ark") as writer:
            for speaker in speakers:
                writer.write(speaker, RNG.normal(size=2).astype(np.float32))
    experiment.write_matrix(path / "lda.mat", RNG.normal(size=(7, 3 * 2 * FEATURE_DIM + 1)))
    return path


FEATURES = {
    "cmvn_opts": "",
    "delta_opts": "--delta-order=1",
    "splice_opts": "--left-context=1 --right-context=1",
}


def train(place, command, directory, recipe, *options):
    (place / f"{command}.yaml").write_text(yaml.safe_dump(recipe))
    places = [str(place / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    assert main([command, f"--config={place}/{command}.yaml", *CPU, *options, *places, str(directory)]) == 0


def ivectors(place):
    return [f"--ivectors=ark:{place}/ivectors_train.ark", f"--ivectors-dev=ark:{place}/ivectors_dev.ark"]


@pytest.fixture(scope="module")
def dnn(place):
    """A DNN on deltas, splicing, LDA and i-vectors."""
    recipe = DNN | {"features": {"splice": 2, **FEATURES, "transform": str(place / "lda.mat")}}
    train(place, "train-dnn", place / "exp/dnn", recipe, *ivectors(place))
    return place / "exp/dnn"


def outputs(path):
    return dict(read_matrices(f"ark:{path}"))


def shim(*arguments, path=(), **more):
    """Call the compat nnet-forward by name; ``path`` comes behind it."""
    search = [str(COMPAT), *map(str, path), "/usr/bin", "/bin"]
    environment = {k: v for k, v in os.environ.items() if k not in ("KALDI_ROOT", "DKT_ROOT")}
    environment |= {"PATH": ":".join(search), **more}
    return subprocess.run(["nnet-forward", *map(str, arguments)], env=environment, capture_output=True)


def stub(directory, text='echo real "$@"'):
    directory.mkdir()
    (directory / "nnet-forward").write_text(f"#!/bin/sh\n{text}\n")
    (directory / "nnet-forward").chmod(0o755)
    return directory


def test_the_command_line_of_kaldis_decode_gives_what_forward_gives(place, dnn, tmp_path):
    assert (dnn / "final.nnet").readlink() == Path("final.pt")
    # What decode.sh does before: its options come from the files, and nothing from an empty one.
    cmvn, delta = ((dnn / name).read_text().strip() for name in ("cmvn_opts", "delta_opts"))
    assert cmvn and (dnn / "ivector_dim").read_text() == "2\n"
    ivector = f"ark:{place}/ivectors_dev.ark"
    feats = f"dkt feats --cmvn-opts='{cmvn}' --delta-opts='{delta}' --ivectors={ivector} {place}/dev ark:- |"
    options = ["--no-softmax=true", "--prior-scale=1.0", f"--feature-transform={dnn}/final.feature_transform"]
    options += [f"--class-frame-counts={dnn}/ali_train_pdf.counts", "--use-gpu=no"]
    done = shim(*options, dnn / "final.nnet", f"ark,s,cs:{feats}", "ark:-", path=[BIN])
    assert done.returncode == 0, done.stderr.decode()
    (tmp_path / "kaldi.ark").write_bytes(done.stdout)
    plain = [option for option in options if "transform" not in option]
    own = ["--ivectors=" + ivector, str(dnn), str(place / "dev"), f"ark:{tmp_path}/own.ark"]
    assert main(["forward", *plain, *own]) == 0
    expected = outputs(tmp_path / "own.ark")
    assert list(outputs(tmp_path / "kaldi.ark")) == list(expected) and len(expected) == 20
    for utt, matrix in outputs(tmp_path / "kaldi.ark").items():
        np.testing.assert_allclose(matrix, expected[utt], atol=1e-4)


def test_both_directories_of_a_student_have_what_kaldi_asks_for(place):
    directory = place / "exp/lstm"
    recipe = LSTM | {"schedule": {"max_iters": 1}}
    plain = place / "exp/plain"
    train(place, "train-dnn", plain, DNN)
    train(place, "train-lstm", directory, recipe, "--mode=pretrain", f"--teacher={plain}")
    for part in (directory, directory / "soft", plain):
        assert (part / "final.nnet").samefile(part / "final.pt")
        (component,) = read_nnet1(part / "final.feature_transform")
        assert isinstance(component, nnet1.Splice)
        assert component.offsets.tolist() == [0] and component.input_dim == FEATURE_DIM


@pytest.mark.parametrize("splice_opts", [None, "--left-context=2 --right-context=1"])
@pytest.mark.parametrize("ivector_dim", [0, 2])
@pytest.mark.parametrize("columns", [None, 0, 1])
def test_the_transform_is_the_rest_of_the_pipeline(place, tmp_path, splice_opts, ivector_dim, columns):
    num_frames = 4 if splice_opts else 1
    dim = 3 * FEATURE_DIM * num_frames
    matrix = None if columns is None else MatrixFile("m", RNG.normal(size=(5, dim + columns)))
    before = FeatureOptions(delta_opts="", ivector_dim=ivector_dim)
    whole = before.replace(splice_opts=splice_opts, transform=matrix)
    side = SpeakerInputs(None, f"ark:{place}/ivectors_dev.ark" if ivector_dim else None)
    experiment.write_feature_files(tmp_path, whole, FEATURE_DIM)
    transform = Nnet1.read(tmp_path / "final.feature_transform")
    data = DataDir(place / "dev")
    expected = dict(FeatureReader(data, whole, side))
    for utt, frames in FeatureReader(data, before, side):
        np.testing.assert_allclose(transform(frames), expected[utt], atol=1e-4, rtol=1e-5)


def test_a_transform_of_another_dimension():
    options = FeatureOptions(transform=MatrixFile("m", np.zeros((2, 9))))
    with pytest.raises(DktError, match=r"shape \(2, 9\) for features of dimension 6"):
        feature_transform(options, 6)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (FeatureOptions(paste="feats.scp pitch.scp"), "pasted features"),
        (FeatureOptions(paste="pitch.scp"), "pasted features"),
        (FeatureOptions(speaker_transforms=True), "fMLLR transforms"),
    ],
)
def test_what_kaldis_scripts_cannot_do_has_no_files_for_them(tmp_path, caplog, options, reason):
    caplog.set_level("INFO")
    network = {"hidden_layers": 1, "hidden_dim": 2}

    def save(pipeline):
        info = ModelInfo.with_features(pipeline, feature_dim=FEATURE_DIM, network=network, **NETWORK)
        experiment.write_feature_files(tmp_path, pipeline, FEATURE_DIM)
        experiment.save_result(tmp_path, info, build_network(info))
        return [(tmp_path / name).exists() for name in ("final.nnet", "final.feature_transform")]

    assert save(FeatureOptions()) == [True, True] == save(FeatureOptions())
    assert "cannot do" not in caplog.text
    assert save(options) == [False, False]
    (line,) = [record.message for record in caplog.records if "cannot do" in record.message]
    assert reason in line


def test_a_network_of_kaldis_is_not_trained_over(place, tmp_path, capsys):
    for name in ("file", "link"):
        directory = tmp_path / name
        directory.mkdir()
        if name == "file":
            (directory / "final.nnet").write_text("<Nnet> </Nnet>")
        else:
            (directory / "nnet").mkdir()
            (directory / "nnet/x").write_text("<Nnet> </Nnet>")
            (directory / "final.nnet").symlink_to("nnet/x")
        places = [str(place / part) for part in ("train", "dev", "ali_train", "ali_dev")]
        assert main(["train-dnn", *CPU, *places, str(directory)]) == 1
        assert f"{name}/final.nnet: is a network that dkt did not train" in capsys.readouterr().err
        assert "final.pt" not in [path.name for path in directory.iterdir()]


# --- the command ---


def test_a_model_of_dkt_never_goes_to_kaldi(dnn, tmp_path):
    kaldi = stub(tmp_path / "kaldi")
    with MatrixWriter(f"ark:{tmp_path}/x.ark") as writer:
        writer.write("u", np.zeros((3, 7 + 2), np.float32))
    done = shim("--use-gpu=no", dnn / "final.nnet", f"ark:{tmp_path}/x.ark", "ark:-", path=[kaldi, BIN])
    assert done.returncode == 0 and done.stdout.startswith(b"u \0BFM ")
    assert shim("--use-gpu=no", dnn / "final.nnet", "ark:/none", "ark:-", path=[kaldi, BIN]).returncode == 1


def test_other_models_go_to_the_nnet_forward_behind(tmp_path):
    kaldi, other = stub(tmp_path / "kaldi"), stub(tmp_path / "other", "echo other; exit 3")
    (tmp_path / "kaldi.nnet").write_bytes(b"\0B<Nnet> </Nnet> ")
    for model in (tmp_path / "kaldi.nnet", "nnet-copy a b |", "-", tmp_path / "nowhere"):
        arguments = ["--no-softmax=true", str(model), "ark:a  b |", "ark:-"]
        done = shim(*arguments, path=["", kaldi, other])
        assert (done.returncode, done.stdout.decode()) == (0, f"real {' '.join(arguments)}\n")
    assert shim("x", path=[other, kaldi]).returncode == 3
    # What stands before the compat directory is not behind it.
    search = f"{other}:{COMPAT}:{kaldi}:/usr/bin:/bin"
    done = subprocess.run([COMPAT / "nnet-forward", "x"], env={"PATH": search}, capture_output=True)
    assert done.stdout == b"real x\n"


def test_without_kaldi_dkt_runs_its_networks(tmp_path):
    (tmp_path / "kaldi.nnet").write_text("<Nnet> <Copy> 1 2 [ 2 ] </Nnet>")
    (tmp_path / "x.ark").write_text("u [ 1 2\n 3 4 ]\n")
    done = shim(tmp_path / "kaldi.nnet", f"ark:{tmp_path}/x.ark", "ark,t:-", "--use-gpu=no", path=[BIN])
    assert done.stdout.split() == [b"u", b"[", b"2", b"4", b"]"], done.stderr.decode()
    log = done.stderr.decode()
    assert "1 CPU thread" in log and "Done 1 files" in log.splitlines()[-1]
    done = shim(tmp_path / "kaldi.nnet", f"ark:cat {tmp_path}/x.ark; exit 1 |", "ark:/dev/null", path=[BIN])
    assert done.returncode == 1


def test_the_dkt_of_the_checkout_is_found(tmp_path):
    root = tmp_path / "checkout"
    (root / "steps/compat").mkdir(parents=True)
    copy = root / "steps/compat/nnet-forward"
    copy.write_text((COMPAT / "nnet-forward").read_text())
    copy.chmod(0o755)
    called = subprocess.run([copy, "x"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert called.returncode == 1 and "the command dkt is not installed" in called.stderr
    (root / ".venv/bin").mkdir(parents=True)
    (root / ".venv/bin/dkt").write_text('#!/bin/sh\necho "$@"\n')
    (root / ".venv/bin/dkt").chmod(0o755)
    called = subprocess.run([copy, "--a=b c", "x"], env={"PATH": "/usr/bin:/bin"}, capture_output=True)
    assert called.stdout == b"forward --use-gpu=no --a=b c x\n"
    # As Kaldi's it takes a GPU where it is told to, and nowhere else.
    (tmp_path / "conf").write_text("--verbose=1\n--use_gpu=yes\n")
    for told in ("--use-gpu=yes", "--use_gpu=optional", f"--config={tmp_path}/conf"):
        called = subprocess.run([copy, "x", told], env={"PATH": "/usr/bin:/bin"}, capture_output=True)
        assert called.stdout.decode() == f"forward x {told}\n"
