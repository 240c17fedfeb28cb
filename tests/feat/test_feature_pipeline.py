"""What goes on top of CMVN and deltas: online CMVN, pasted features, fMLLR and i-vectors."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import torch

from dkt.base.errors import DktError
from dkt.base.tally import Tally
from dkt.bin import main
from dkt.feat.functions import append_ivectors, apply_cmvn, cmvn_stats, fake_stats, paste, splice
from dkt.feat.online_cmvn import OnlineCmvnOptions, apply_online_cmvn
from dkt.feat.pipeline import FeatureOptions, MatrixFile, sum_stats
from dkt.feat.reader import FeatureReader
from dkt.feat.speaker_inputs import Ivectors, SpeakerInputs
from dkt.hmm.alignments import AlignmentDir
from dkt.nnet.model_file import ModelInfo, build_network, load_model, save_model
from dkt.targets.teacher import RunningTeacher
from dkt.train.inputs import Sources, open_inputs
from dkt.train.recipes import load_recipe
from dkt.util.data_dir import DataDir
from dkt.util.object_io import ObjectReader, ObjectWriter
from dkt.util.table import MatrixTable, MatrixWriter, VectorWriter, read_matrices
from tests.hmm.test_transitions import two_phone_model
from tests.shell import ROOT
from tests.synthetic import write_ali_dir

RNG = np.random.default_rng(11)


@pytest.fixture
def data(tmp_path):
    """Two speakers with two utterances each; F is 4."""
    path = tmp_path / "data"
    path.mkdir()
    utts = ["a-1", "a-2", "b-1", "b-2"]
    (path / "utt2spk").write_text("".join(f"{utt} {utt[0]}\n" for utt in utts))
    write(path / "feats", {utt: RNG.normal(2.0, 1.0, (30 + 5 * n, 4)) for n, utt in enumerate(utts)})
    write(path / "pitch", {utt: RNG.normal(0.0, 1.0, (29 + 5 * n, 2)) for n, utt in enumerate(utts)})
    return path


def write(stem, matrices):
    with MatrixWriter(f"ark,scp:{stem}.ark,{stem}.scp") as writer:
        for key, matrix in matrices.items():
            writer.write(key, matrix)


def read(data, side=None, **options):
    return dict(FeatureReader(DataDir(data), FeatureOptions(**options), side))


def raw(data, name="feats"):
    return dict(read_matrices(f"scp:{data}/{name}.scp"))


def literally(features, global_stats, options, speaker_stats):
    """Kaldi's equations frame by frame, as they are written in online-feature.cc."""
    rows = []
    for t in range(len(features)):
        stats = cmvn_stats(features[max(0, t + 1 - options.cmn_window) : t + 1])
        if stats[0, -1] < options.cmn_window and speaker_stats is not None:
            count = min(options.cmn_window - stats[0, -1], options.speaker_frames, speaker_stats[0, -1])
            stats = stats + count / speaker_stats[0, -1] * speaker_stats
        if stats[0, -1] < options.cmn_window:
            count = min(options.cmn_window - stats[0, -1], options.global_frames)
            stats = stats + count / global_stats[0, -1] * global_stats
        stats = fake_stats(stats, options.skip_dims)
        rows.append(apply_cmvn(features[t : t + 1], stats, options.norm_vars))
    return np.concatenate(rows)


@pytest.mark.parametrize("norm_vars", [False, True])
@pytest.mark.parametrize("speaker_frames", [None, 4, 300])
def test_online_cmvn_is_kaldis_equation(norm_vars, speaker_frames):
    options = OnlineCmvnOptions(20, 12, 6, norm_vars=norm_vars, skip_dims=(1,))
    features = RNG.normal(3.0, 2.0, (50, 4)).astype(np.float32)
    global_stats = cmvn_stats(RNG.normal(1.0, 1.0, (500, 4)))
    speaker = None if speaker_frames is None else cmvn_stats(RNG.normal(5.0, 1.0, (speaker_frames, 4)))
    result = apply_online_cmvn(features, global_stats, options, speaker)
    np.testing.assert_allclose(result, literally(features, global_stats, options, speaker), atol=1e-4)
    np.testing.assert_array_equal(result[:, 1], features[:, 1])


def test_online_cmvn_equals_kaldi(kaldi_fixtures):
    folder = kaldi_fixtures / "golden/features"
    stats = ObjectReader.open(folder / "global_cmvn_stats.mat").matrix()
    golden = MatrixTable(f"ark:{folder}/mfcc_online_cmn.ark")
    frames = 0
    for utt, features in read_matrices(f"ark:{folder}/mfcc_raw.ark"):
        result = apply_online_cmvn(features, stats, OnlineCmvnOptions())
        np.testing.assert_allclose(result, golden[utt], atol=1e-4)
        frames += len(result)
    assert frames > 600, "the window of 600 frames should have been reached in all"


def test_spk2utt_carries_on_within_a_speaker_only(data):
    stats = MatrixFile("global", cmvn_stats(RNG.normal(0.0, 1.0, (100, 4))))
    common = {"global_cmvn_stats": stats}
    alone = read(data, online_cmvn_opts="--cmn-window=600", **common)
    carried = read(data, online_cmvn_opts="--cmn-window=600 --spk2utt=ark:any", **common)
    for first, second in (("a-1", "a-2"), ("b-1", "b-2")):
        np.testing.assert_array_equal(carried[first], alone[first])
        expected = literally(
            raw(data)[second], stats.values, OnlineCmvnOptions(), cmvn_stats(raw(data)[first])
        )
        np.testing.assert_allclose(carried[second], expected, atol=1e-4)


def test_global_statistics_are_the_sum_of_the_speakers():
    parts = [cmvn_stats(RNG.normal(0.0, 1.0, (n, 3))) for n in (5, 9)]
    total = sum_stats(parts, "cmvn.scp")
    assert total.values[0, -1] == 14 and total == MatrixFile("elsewhere", parts[0] + parts[1])
    with pytest.raises(DktError, match="differ in dimension"):
        sum_stats([*parts, np.zeros((2, 9))], "cmvn.scp")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cmvn_opts": "", "online_cmvn_opts": ""}, "exclude each other"),
        ({"online_cmvn_opts": ""}, "global_cmvn_stats.mat"),
        ({"paste": " "}, "names no features"),
        ({"cmvn_opts": "--skip-dims=1:x"}, "skip-dims"),
    ],
)
def test_impossible_options(data, options, message):
    write(data / "cmvn", {s: cmvn_stats(np.ones((3, 4))) for s in "ab"})
    with pytest.raises(DktError, match=message):
        read(data, **options)


def test_skipped_dimensions_and_statistics_of_utterances(data):
    features = raw(data)
    write(data / "cmvn", {utt: cmvn_stats(matrix) for utt, matrix in features.items()})
    result = read(data, cmvn_opts="--norm-vars=true --skip-dims=0:3")
    for utt, matrix in features.items():
        np.testing.assert_array_equal(result[utt][:, [0, 3]], matrix[:, [0, 3]])
        assert np.abs(result[utt][:, 1:3].mean(axis=0)).max() < 1e-4
        np.testing.assert_allclose(result[utt][:, 1:3].std(axis=0), 1.0, atol=1e-3)


def test_features_are_pasted_and_cut_to_the_shortest(data):
    result = read(data, paste="feats.scp pitch.scp")
    for utt, pitch in raw(data, "pitch").items():
        np.testing.assert_array_equal(result[utt], np.hstack([raw(data)[utt][: len(pitch)], pitch]))
    with pytest.raises(DktError, match="5 and 8 frames"):
        paste([np.zeros((5, 1)), np.zeros((8, 1))], 2)


@pytest.mark.parametrize("option", ["--paste", "--streams"])
def test_statistics_of_pasted_features(data, capsys, option):
    """Under the earlier name of the option, too."""
    names = "feats.scp pitch.scp"
    wspecifier = f"ark,scp:{data}/cmvn.ark,{data}/cmvn.scp"
    assert main(["compute-cmvn-stats", f"{option}={names}", str(data), wspecifier]) == 0
    result = read(data, paste=names, cmvn_opts="")
    for spk in "ab":
        frames = np.concatenate([matrix for utt, matrix in result.items() if utt[0] == spk])
        assert frames.shape[1] == 6 and np.abs(frames.mean(axis=0)).max() < 1e-5


@pytest.mark.parametrize("form", ["ark", "ark,t"])
def test_transforms_of_speakers_then_ivectors(data, tmp_path, form):
    transforms = {spk: RNG.normal(0.0, 1.0, (3, 5)).astype(np.float32) for spk in "ab"}
    for job, spk in enumerate("ab", 1):
        with MatrixWriter(f"ark:{tmp_path}/trans.{job}") as writer:
            writer.write(spk, transforms[spk])
    with VectorWriter(f"{form}:{tmp_path}/ivec.ark") as writer:
        for utt in raw(data):
            writer.write(utt, np.array([len(utt), 7.0], np.float32))
    side = SpeakerInputs(str(tmp_path), f"ark:{tmp_path}/ivec.ark")
    result = read(data, side, speaker_transforms=True, ivector_dim=2)
    for utt, matrix in raw(data).items():
        A = transforms[utt[0]]
        expected = matrix @ A[:, :4].T + A[:, 4]
        np.testing.assert_allclose(result[utt][:, :3], expected, atol=1e-5)
        assert (result[utt][:, 3:] == [len(utt), 7.0]).all()


def test_ivectors_of_a_period_follow_the_frames(data, tmp_path):
    write(tmp_path / "ivector_online", {utt: np.arange(8)[:4, None] for utt in raw(data)})
    (tmp_path / "ivector_period").write_text("10\n")
    ivectors = Ivectors(str(tmp_path))
    assert (ivectors.dim, ivectors.period) == (1, 10)
    column = ivectors.append("b-2", "b", np.zeros((45, 2), np.float32))[:, 2]
    assert column.tolist() == [0.0] * 10 + [1.0] * 10 + [2.0] * 10 + [3.0] * 15
    # Too few, those of a period taken for one a frame, and the other way round.
    for frames, rows, period in ((91, 4, 10), (54, 6, 1), (100, 100, 10)):
        with pytest.raises(DktError, match=f"for {frames} frames"):
            append_ivectors(np.zeros((frames, 2)), np.zeros((rows, 1)), period)


def test_what_lacks_a_transform_is_dropped_by_name_or_an_error(data, tmp_path):
    with MatrixWriter(f"ark:{tmp_path}/trans.1") as writer:
        writer.write("a", np.eye(4, dtype=np.float32))
    options, side = FeatureOptions(speaker_transforms=True), SpeakerInputs(str(tmp_path))
    with pytest.raises(DktError, match=r"utterance 'b-1': no transform of speaker 'b'"):
        list(FeatureReader(DataDir(data), options, side))
    tally = Tally("test", 1.0)
    reader = FeatureReader(DataDir(data), options, side)
    reader.drop_missing(tally)
    assert [utt for utt, _ in reader] == ["a-1", "a-2"] and tally.num_dropped == 2


@pytest.mark.parametrize(
    ("options", "side", "message"),
    [
        ({"speaker_transforms": True}, SpeakerInputs(), "--transform-dir"),
        ({}, SpeakerInputs(transform_dir="exp/ali"), "take no fMLLR"),
        ({"ivector_dim": 3}, SpeakerInputs(), "--ivectors"),
    ],
)
def test_speaker_inputs_must_be_those_that_the_features_take(data, options, side, message):
    with pytest.raises(DktError, match=message):
        read(data, side, **options)


def test_speaker_inputs_of_the_dev_data_are_asked_for_by_their_options(data, tmp_path, monkeypatch):
    options = FeatureOptions(ivector_dim=3)
    with pytest.raises(DktError, match="of the dev data - give them by --ivectors-dev"):
        FeatureReader(DataDir(data), options, SpeakerInputs(), "-dev")
    with pytest.raises(DktError, match="leave out --transform-dir-dev, or give --transform-dir too"):
        FeatureReader(DataDir(data), FeatureOptions(), SpeakerInputs(transform_dir="exp/ali"), "-dev")
    # Before the training data are read.
    monkeypatch.setattr("dkt.train.inputs.load_utterances", None)
    with VectorWriter(f"ark:{data}/ivectors") as writer:
        writer.write("a-1", np.zeros(3, dtype=np.float32))
    shutil.copytree(data, tmp_path / "dev")
    (tmp_path / "dev/utt2spk").write_text("other-1 other\n")
    write_ali_dir(tmp_path / "ali", two_phone_model(), {})
    ali = AlignmentDir(tmp_path / "ali")
    side = SpeakerInputs(ivectors=f"ark:{data}/ivectors")
    sources = Sources(DataDir(data), DataDir(tmp_path / "dev"), ali, ali, side_train=side)
    recipe = load_recipe("dnn", None, ["features.cmvn_opts=null"])
    with pytest.raises(DktError, match="--ivectors-dev"):
        open_inputs(recipe, sources, torch.device("cpu"))


def test_nnet1_directories_do_what_they_have_files_for(tmp_path):
    assert FeatureOptions.of_nnet_dir(tmp_path) == FeatureOptions()
    (tmp_path / "delta_opts").write_text("--delta-order=1\n")
    (tmp_path / "online_cmvn_opts").write_text("--norm-vars=true\n")
    (tmp_path / "ivector_dim").write_text("100\n")
    matrix = ObjectWriter()
    matrix.matrix(np.ones((2, 5)))
    matrix.save(tmp_path / "global_cmvn_stats.mat")
    options = FeatureOptions.of_nnet_dir(tmp_path)
    assert (
        options.cmvn_opts is None and options.delta_opts == "--delta-order=1" and options.ivector_dim == 100
    )
    assert options.online_cmvn_opts == "--norm-vars=true" and options.global_cmvn_stats is not None


def test_feats_writes_what_the_gmm_reads(kaldi_fixtures, tmp_path, capsys):
    folder = kaldi_fixtures / "golden/features"
    utts = [utt for utt, _ in read_matrices(f"ark:{folder}/mfcc_raw.ark")]
    utt2spk = [line for line in (folder / "utt2spk").read_text().splitlines() if line.split()[0] in utts]
    (tmp_path / "utt2spk").write_text("\n".join(utt2spk) + "\n")
    for name, table in (("feats", "mfcc_raw"), ("cmvn", "mfcc_cmvn")):
        write(tmp_path / name, dict(read_matrices(f"ark:{folder}/{table}.ark", np.float64)))
    gmm = f"--gmm-dir={kaldi_fixtures}/exp/tri2b_ali"
    assert main(["feats", gmm, str(tmp_path), f"ark:{tmp_path}/out.ark"]) == 0
    golden = MatrixTable(f"ark:{folder}/mfcc_cmn_lda.ark")
    for utt, features in read_matrices(f"ark:{tmp_path}/out.ark"):
        np.testing.assert_allclose(features, golden[utt], atol=1e-4)
    assert main(["feats", gmm, str(tmp_path)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 1 + len(utts) and table[1].split()[2] == "40"


def test_a_model_keeps_its_pipeline_and_forward_follows_it(data, tmp_path, capsys):
    for job, spk in enumerate("ab", 1):
        with MatrixWriter(f"ark:{tmp_path}/trans.{job}") as writer:
            writer.write(spk, RNG.normal(0.0, 1.0, (3, 7)).astype(np.float32))
    with VectorWriter(f"ark:{tmp_path}/ivec.ark") as writer:
        for spk in "ab":
            writer.write(spk, RNG.normal(0.0, 1.0, 2).astype(np.float32))
    options = FeatureOptions(
        online_cmvn_opts="--norm-vars=true",
        global_cmvn_stats=MatrixFile("g", cmvn_stats(RNG.normal(0.0, 1.0, (300, 6)))),
        transform=MatrixFile("t", RNG.normal(0.0, 1.0, (6, 6))),
        paste="feats.scp pitch.scp",
        speaker_transforms=True,
        ivector_dim=2,
    )
    network = {"hidden_layers": 1, "hidden_dim": 8}
    info = ModelInfo.with_features(
        options, kind="dnn", feature_dim=5, num_pdfs=4, left_context=1, right_context=1, network=network
    )
    assert info.spliced_dim == 3 * 3 + 2
    dnn = build_network(info).eval()
    save_model(tmp_path / "final.pt", info, dnn)
    assert load_model(tmp_path / "final.pt")[0].feature_options == options
    side = SpeakerInputs(str(tmp_path), f"ark:{tmp_path}/ivec.ark")
    given = [f"--transform-dir={side.transform_dir}", f"--ivectors={side.ivectors}", "--use-gpu=no"]
    model, output = str(tmp_path / "final.pt"), f"ark:{tmp_path}/out.ark"
    assert main(["forward", "--no-softmax=true", *given, model, str(data), output]) == 0
    outputs = dict(read_matrices(output))
    for utt, frames in FeatureReader(DataDir(data), options, side):
        spliced = np.hstack([splice(frames[:, :3], 1, 1), frames[:, 3:]])
        with torch.no_grad():
            np.testing.assert_allclose(outputs[utt], dnn(torch.from_numpy(spliced)).numpy(), atol=1e-4)
    assert len(outputs) == 4
    assert main(["forward", model, str(data), output]) == 1
    assert "--transform-dir" in capsys.readouterr().err


def test_a_teacher_that_takes_speaker_inputs_is_not_run_with_those_of_the_student(data):
    network = {"hidden_layers": 1, "hidden_dim": 8}
    info = ModelInfo.with_features(
        FeatureOptions(ivector_dim=2),
        **{"kind": "dnn", "feature_dim": 6, "num_pdfs": 4, "left_context": 1, "right_context": 1},
        network=network,
    )
    with pytest.raises(DktError, match="make_soft_targets"):
        RunningTeacher(info, build_network(info), DataDir(data), None, (1.0,), torch.device("cpu"))


def test_parts_of_a_data_directory_have_all_features_and_statistics_of_utterances(data):
    write(data / "cmvn", {utt: cmvn_stats(matrix) for utt, matrix in raw(data).items()})
    splitter = ROOT / "steps/utils/split_data.sh"
    subprocess.run([splitter, data, "2"], check=True)
    parts = [read(data / f"split2/{n}", paste="feats.scp pitch.scp") for n in (1, 2)]
    assert [list(part) for part in parts] == [["a-1", "a-2"], ["b-1", "b-2"]]
    assert list(read(data / "split2/2", cmvn_opts="")) == ["b-1", "b-2"]
