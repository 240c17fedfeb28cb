"""The whole chain through the steps, from audio to word error rates, on a corpus of tones; no program may run
commands that stand in names or files (``DKT_NO_PIPES``), so that none of the steps needs them."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest

from dkt.gmm.gmm import load_gmm
from dkt.hmm.alignments import AlignmentDir
from dkt.util.kaldi_io import NO_PIPES
from dkt.util.table import read_int_vectors, read_matrices
from tests.shell import fails, succeed
from tests.tones import write_corpus

DNN = """
features: {splice: 3}
network: {hidden_layers: 2, hidden_dim: 32, activation: relu}
optimizer: {type: adam, minibatch_size: 64}
schedule: {learn_rate: 0.003, max_iters: 4}
"""
MONO = ["--num-iters", "8", "--max-iter-inc", "6", "--totgauss", "40", "--realign-iters", "1 2 3 4 5 6 7"]


@pytest.fixture(scope="module", autouse=True)
def _no_pipes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(NO_PIPES, "1")
        yield


@pytest.fixture(scope="module")
def exp(tmp_path_factory):
    """A directory in which every stage was run once; its name has a space."""
    path = tmp_path_factory.mktemp("a recipe")
    write_corpus(path / "data")
    (path / "conf").mkdir()
    (path / "conf/mfcc.conf").write_text("--sample-frequency=8000\n--use-energy=false\n")
    (path / "conf/fbank.conf").write_text("--sample-frequency=8000\n--num-mel-bins=20\n")
    (path / "conf/dnn.yaml").write_text(DNN)
    lang = ["--order", "1", "data/local/dict", "<UNK>", "data/local/lm_train.txt", "data/lang"]
    succeed(path, "steps/prepare_lang.sh", *lang)
    succeed(path, "local/make_feature_sets.sh", "--nj", "2", "data", "train", "dev", "test")
    succeed(path, "steps/train_mono.sh", "--nj", "2", *MONO, "data/train_mfcc", "data/lang", "exp/mono")
    succeed(path, "steps/mkgraph.sh", "data/lang", "exp/mono", "exp/mono/graph")
    for part in ("train", "dev"):
        places = [f"data/{part}_mfcc", "data/lang", "exp/mono", f"exp/ali_{part}"]
        succeed(path, "steps/align_si.sh", "--nj", "2", *places)
    places = ["data/train_fbank", "data/dev_fbank", "data/lang", "exp/ali_train", "exp/ali_dev", "exp/dnn"]
    succeed(path, "steps/train_dnn.sh", "--dnn-config", "conf/dnn.yaml", "--num-threads", "1", *places)
    succeed(path, "steps/forward.sh", "--nj", "2", "data/test_fbank", "exp/dnn", "exp/dnn/post_test")
    scan = ["--nj", "2", "--lmwts", "5 10 20", "--word-ins-penalties", "0.0 1.0"]
    for kind, model in [("mfcc", "mono"), ("fbank", "dnn")]:
        places = ["exp/mono/graph", f"data/dev_{kind}", f"data/test_{kind}", f"exp/{model}"]
        succeed(path, "local/decode_dev_then_test.sh", *scan, *(str(path / place) for place in places))
    return path


def best_wer(path: Path) -> float:
    return float(re.match(r"%WER (\S+) \[", (path / "scoring_kaldi/best_wer").read_text())[1])


@pytest.mark.parametrize("model", ["mono", "dnn"])
def test_words_are_recognised(exp, model):
    assert best_wer(exp / f"exp/{model}/decode_dev") <= 5.0
    assert best_wer(exp / f"exp/{model}/decode_test") <= 10.0
    # dev was scanned; test was searched at the one point that dev chose.
    assert len(list((exp / f"exp/{model}/decode_dev").glob("wer_*"))) == 6
    (searched,) = (exp / f"exp/{model}/decode_test").glob("wer_*")
    chosen = (exp / f"exp/{model}/decode_dev/scoring_kaldi/wer_details/lmwt").read_text().strip()
    assert searched.name.startswith(f"wer_{chosen}_")


def test_directories_hold_what_kaldi_leaves(exp):
    for path in (
        "exp/mono/{final.mdl,tree,final.occs,num_jobs,phones.txt,cmvn_opts,ali.1.gz,ali.2.gz,log}",
        "exp/mono/graph/{HCLG.fst,words.txt,phones.txt,num_pdfs,disambig_tid.int}",
        "exp/ali_train/{final.mdl,tree,num_jobs,phones.txt,cmvn_opts,ali.1.gz,ali.2.gz}",
        "exp/dnn/{final.pt,final.mdl,tree,phones.txt,ali_train_pdf.counts,cmvn_opts,config.yaml,history.csv}",
        "data/train_mfcc/{feats.scp,cmvn.scp,utt2num_frames}",
        "data/lang/{L.fst,L_disambig.fst,G.fst,topo,phones.txt,words.txt,oov.txt,oov.int}",
    ):
        folder, names = path.split("/{")
        for name in names.rstrip("}").split(","):
            assert (exp / folder / name).exists(), f"{folder}/{name}"


def test_posterior_archives_have_a_row_a_frame_that_sums_to_one(exp):
    lengths = dict(line.split() for line in (exp / "data/test_fbank/utt2num_frames").read_text().splitlines())
    _, gmm = load_gmm(exp / "exp/mono/final.mdl")
    seen = {}
    for utt, posteriors in kaldi_native_io.SequentialFloatMatrixReader(
        f"scp:{exp}/exp/dnn/post_test/feats.scp"
    ):
        seen[utt] = str(len(posteriors))
        assert posteriors.shape[1] == gmm.num_pdfs
        np.testing.assert_allclose(posteriors.sum(axis=1), 1.0, atol=1e-5)
    assert seen == lengths


def test_kaldis_own_reader_reads_every_archive(exp):
    matrices = sorted(exp.glob("data/*_*/*/*.ark")) + sorted(exp.glob("exp/**/*.ark"))
    assert len(matrices) >= 20
    for path in matrices:
        reader = kaldi_native_io.SequentialDoubleMatrixReader if path.name.startswith("cmvn") else None
        reader = reader or kaldi_native_io.SequentialFloatMatrixReader
        ours = dict(read_matrices(f"ark:{path}", np.float64))
        theirs = {utt: np.array(matrix) for utt, matrix in reader(f"ark:{path}")}
        assert list(ours) == list(theirs)
        for utt in ours:
            # Features are compressed: kaldiio unfolds them with another rounding.
            np.testing.assert_allclose(ours[utt], theirs[utt], rtol=1e-6, atol=1e-4)
    alignments = sorted(exp.glob("exp/*/ali.*.gz"))
    assert len(alignments) == 6
    for path in alignments:
        plain = exp / "plain.ark"
        plain.write_bytes(gzip.decompress(path.read_bytes()))
        ours = dict(read_int_vectors(f"ark:{plain}"))
        theirs = dict(kaldi_native_io.SequentialInt32VectorReader(f"ark:{plain}"))
        assert list(ours) == list(theirs) and ours
        for utt, ids in theirs.items():
            np.testing.assert_array_equal(ours[utt], ids)


def test_a_network_on_adapted_features_of_two_speeds_aligns_its_data(exp, tmp_path):
    speeds = ["--factors", "0.95", "data/train", str(tmp_path / "train_sp")]
    assert "utterances in" in succeed(exp, "steps/perturb_data_dir_speed.sh", *speeds)
    succeed(exp, "local/make_feature_sets.sh", "--nj", "2", "--kinds", "mfcc", str(tmp_path), "train_sp")
    assert not (tmp_path / "train_sp_fbank").exists()
    data, ali = str(tmp_path / "train_sp_mfcc"), str(tmp_path / "ali")
    succeed(exp, "steps/align_si.sh", "--nj", "2", data, "data/lang", "exp/mono", ali)
    gmm = ["exp/mono/graph", "exp/mono"]
    train, dev = str(tmp_path / "train_fmllr"), str(tmp_path / "dev_fmllr")
    succeed(exp, "steps/make_fmllr_feats.sh", "--nj", "2", "--ali-dir", ali, data, *gmm, train)
    succeed(exp, "steps/make_fmllr_feats.sh", "--nj", "99", "data/dev_mfcc", *gmm, dev)
    for path in (train, dev):
        features = dict(read_matrices(f"scp:{path}/feats.scp"))
        assert list(features) == [x.split()[0] for x in (Path(path) / "utt2spk").read_text().splitlines()]
        assert {matrix.shape[1] for matrix in features.values()} == {39}
    (tmp_path / "dnn.yaml").write_text(DNN.replace("{splice", "{cmvn_opts: null, splice"))
    options = ["--dnn-config", str(tmp_path / "dnn.yaml"), "--num-threads", "1"]
    dnn = str(tmp_path / "dnn")
    succeed(exp, "steps/train_dnn.sh", *options, train, dev, "data/lang", ali, "exp/ali_dev", dnn)
    succeed(exp, "steps/align.sh", "--nj", "2", train, "data/lang", dnn, str(tmp_path / "dnn_ali"))
    by_gmm, by_dnn = (AlignmentDir(tmp_path / name).pdfs() for name in ("ali", "dnn_ali"))
    same = [(by_gmm[utt] == by_dnn[utt]).mean() for utt in by_gmm]
    assert list(by_gmm) == list(by_dnn) and np.mean(same) > 0.8


def test_noisy_copies_have_the_alignments_of_clean_speech(exp, tmp_path):
    """As the recipes have them, by prefix, and as utt2uniq tells; each alignment as long as its features."""
    noise = ["--utt-prefix", "noise", "--include-original", "true", "--bg-noise-types", "white:pink:babble"]
    noisy = str(tmp_path / "train_noise")
    succeed(exp, "steps/augment_data_dir.sh", *noise, "--bg-snrs", "5..20", "data/train", noisy)
    succeed(exp, "local/make_feature_sets.sh", "--nj", "2", "--kinds", "mfcc", str(tmp_path), "train_noise")
    succeed(exp, "steps/make_mfcc.sh", "--nj", "2", noisy)
    by_prefix, by_uniq = str(tmp_path / "ali"), str(tmp_path / "ali_uniq")
    for options, data, ali in ((["--prefixes", "noise"], f"{noisy}_mfcc", by_prefix), ([], noisy, by_uniq)):
        succeed(exp, "steps/copy_ali_dir.sh", "--nj", "2", *options, data, "exp/ali_train", ali)
    clean, found = (AlignmentDir(path).pdfs() for path in (exp / "exp/ali_train", by_prefix))
    features = dict(read_matrices(f"scp:{noisy}_mfcc/feats.scp"))
    assert sorted(found) == sorted([*clean, *(f"noise-{utt}" for utt in clean)])
    for utt, pdfs in found.items():
        assert len(pdfs) == len(features[utt])
        np.testing.assert_array_equal(pdfs, clean[utt.removeprefix("noise-")])
    for job in (1, 2):
        assert (Path(by_uniq) / f"ali.{job}.gz").read_bytes() == (
            Path(by_prefix) / f"ali.{job}.gz"
        ).read_bytes()
    succeed(exp, "steps/check_data.sh", f"{noisy}_mfcc", "data/lang", by_prefix)
    succeed(exp, "steps/perturb_data_dir_volume.sh", noisy, str(tmp_path / "train_loud"))
    loud, before = (tmp_path / name / "utt2num_frames" for name in ("train_loud", "train_noise"))
    assert loud.read_bytes() == before.read_bytes()


def test_the_gmm_has_the_same_bytes_whatever_the_number_of_jobs(exp):
    places = ["data/train_mfcc", "data/lang", "exp/mono_again"]
    succeed(exp, "steps/train_mono.sh", "--nj", "1", *MONO, *places)
    for name in ("final.mdl", "tree"):
        assert (exp / "exp/mono_again" / name).read_bytes() == (exp / "exp/mono" / name).read_bytes()


@pytest.fixture
def copy(exp, tmp_path):
    """Returns a function that copies a data directory, to be spoilt."""

    def make(name: str) -> Path:
        shutil.copytree(exp / "data" / name, tmp_path / name, ignore=shutil.ignore_patterns("split*", "log"))
        return tmp_path / name

    return make


def test_a_missing_recording_is_named_and_counted_over_all_jobs(exp, copy):
    data = copy("test_mfcc")
    lines = (data / "wav.scp").read_text().replace("test0-01.wav", "gone.wav")
    (data / "wav.scp").write_text(lines)
    output = fails(exp, "steps/make_mfcc.sh", "--nj", "2", str(data))
    assert re.search(r"gone\.wav: utterance 'test0-01': does not exist - mend wav.scp", output)
    # What is finished stays until what replaces it is whole.
    assert (data / "feats.scp").exists() and (data / "cmvn.scp").exists()
    assert not (data / ".backup/feats.scp").exists()
    # One of eight is one of four in its job.
    output = succeed(exp, "steps/make_mfcc.sh", "--nj", "2", "--max-dropped", "0.2", str(data))
    assert "steps/make_mfcc.sh: features: 1 of 8 utterances dropped" in output
    assert not (data / "cmvn.scp").exists()
    assert (data / ".backup/feats.scp").exists() and (data / ".backup/cmvn.scp").exists()
    assert len((data / "feats.scp").read_text().splitlines()) == 7
    output = succeed(exp, "steps/make_mfcc.sh", "--nj", "2", "--stage", "1", str(data))
    assert len((data / "feats.scp").read_text().splitlines()) == 7


def test_losses_of_a_search_are_counted_over_all_jobs(exp, copy, tmp_path):
    data = copy("test_mfcc")
    lines = (data / "feats.scp").read_text().splitlines(keepends=True)
    (data / "feats.scp").write_text("".join(lines[1:]))
    search = ["--nj", "2", "--lmwts", "10", "--word-ins-penalties", "0.0", "--srcdir", "exp/mono"]
    places = ["exp/mono/graph", str(data), str(tmp_path / "decode")]
    output = fails(exp, "steps/decode_scan.sh", *search, *places)
    assert "1 of 8 utterances dropped" in output and "test0-00" in output
    assert "over --max-dropped (0.05)" in output
    output = succeed(exp, "steps/decode_scan.sh", *search, "--max-dropped", "0.2", *places)
    assert "1 of 8 utterances dropped" in output and (tmp_path / "decode/scoring_kaldi/best_wer").exists()
    (tmp_path / "decode/wer_10_0.0").unlink()
    succeed(exp, "steps/decode_scan.sh", "--stage", "1", *places)
    assert (tmp_path / "decode/wer_10_0.0").exists()


def test_lattices_give_the_words_of_a_search_and_priors_may_be_mean_posteriors(exp, tmp_path):
    output = succeed(exp, "steps/make_priors.sh", "--nj", "2", "data/train_fbank", "exp/dnn")
    assert "priors in exp/dnn/prior_counts" in output
    lengths = (exp / "data/train_fbank/utt2num_frames").read_text().split()[1::2]
    priors = np.array((exp / "exp/dnn/prior_counts").read_text().strip("[ ]\n").split(), float)
    np.testing.assert_allclose(priors.sum(), sum(map(int, lengths)), rtol=1e-4)
    options = ["--nj", "2", "--srcdir", "exp/dnn", "--scoring-opts", "--min-lmwt 9 --max-lmwt 11"]
    place = tmp_path / "decode"
    output = succeed(exp, "steps/decode.sh", *options, "exp/mono/graph", "data/dev_fbank", str(place))
    assert "8 of 8 utterances have a lattice" in output and "by dkt latgen" in output
    assert "--class-frame-counts=exp/dnn/prior_counts" in (place / "log/decode.1.log").read_text()
    assert {path.name for path in place.glob("lat.*")} == {"lat.1.gz", "lat.2.gz"}
    assert len(list(place.glob("wer_*"))) == 9 and best_wer(place) <= 5.0
    assert (place / "scoring_kaldi/wer_details/wip").exists()
    output = succeed(exp, "steps/decode.sh", *options, "exp/mono/graph", "data/dev_fbank", str(place))
    assert output.count("done already") == 2
    (exp / "exp/dnn/prior_counts").unlink()


def test_what_an_alignment_lost_is_told(exp, copy, tmp_path):
    data = copy("dev_mfcc")
    lines = (data / "text").read_text().splitlines(keepends=True)
    (data / "text").write_text("".join(lines[1:]))
    places = [str(data), "data/lang", "exp/mono", str(tmp_path / "ali")]
    output = succeed(exp, "steps/align_si.sh", "--nj", "2", "--max-dropped", "0.2", *places)
    assert "steps/align_si.sh: align: 1 of 8 utterances dropped" in output and "dev0-00" in output
    (line,) = (line for line in output.splitlines() if "of the frames are silence" in line)
    assert line.startswith(f"steps/align_si.sh: {data}: ")
    assert "0 of 7 utterances (0.0 %) needed the second try, 0 of " in line
    assert line.endswith(" words (0.00 %) are out of vocabulary")


def test_too_few_alignments_are_an_error_of_one_line(exp, tmp_path):
    shutil.copytree(exp / "exp/ali_train", tmp_path / "ali")
    (tmp_path / "ali/num_jobs").write_text("1\n")
    (tmp_path / "ali/ali.2.gz").unlink()
    places = ["data/train_fbank", "data/dev_fbank", "data/lang", str(tmp_path / "ali"), "exp/ali_dev"]
    output = fails(exp, "steps/train_dnn.sh", *places, str(tmp_path / "dnn"))
    last = output.splitlines()[-1]
    assert last.startswith("steps/train_dnn.sh: error: ")
    assert re.search(r"of 42 utterances were dropped, over the limit of 5 %.* no alignment in ", last)


@pytest.mark.parametrize(
    ("text", "policy", "message"),
    [
        ("</s>", "map", r"text: utterance 'train0-00'.*reserved symbol"),
        ("LOW XYZ", "error", r"utterance 'train0-00'.*XYZ"),
    ],
)
def test_a_bad_transcript_is_named(exp, copy, tmp_path, text, policy, message):
    data = copy("train_mfcc")
    lines = (data / "text").read_text().splitlines()
    (data / "text").write_text("\n".join([f"train0-00 {text}".strip(), *lines[1:]]) + "\n")
    output = fails(
        exp, "steps/train_mono.sh", "--oov-policy", policy, str(data), "data/lang", str(tmp_path / "x")
    )
    assert re.search(message, output)


@pytest.mark.parametrize(
    ("step", "places"),
    [
        ("make_mfcc", "DATA"),
        ("forward", "DATA exp/dnn OUT"),
        ("decode", "--srcdir exp/dnn exp/mono/graph DATA OUT"),
        ("decode_scan", "--srcdir exp/mono exp/mono/graph DATA OUT"),
        ("align", "DATA data/lang exp/dnn OUT"),
        ("make_fmllr_feats", "DATA exp/mono/graph exp/mono OUT"),
        ("make_soft_targets", "DATA exp/dnn OUT"),
    ],
)
def test_data_run_no_commands_in_any_step(exp, copy, tmp_path, step, places):
    kind = "fbank" if "exp/dnn" in places else "mfcc"
    data, mark = copy(f"dev_{kind}"), tmp_path / "mark"
    name = "wav.scp" if step == "make_mfcc" else "feats.scp"
    lines = (data / name).read_text().splitlines()
    utt, place = lines[2].split(maxsplit=1)
    lines[2] = f"{utt} touch {mark}; cat {place} |"
    (data / name).write_text("\n".join(lines) + "\n")
    words = [{"DATA": str(data), "OUT": str(tmp_path / "out")}.get(word, word) for word in places.split()]
    output = fails(exp, f"steps/{step}.sh", "--nj", "1", *words)
    told = rf"{name}: utterance '{utt}': line 3: a command, 'touch .*', and commands are forbidden \("
    (line,) = (line for line in output.splitlines() if line.startswith(f"steps/{step}.sh: error:"))
    assert re.search(told, line), output
    # That of the copied data apart.
    assert not mark.exists() and not list((tmp_path / "out").rglob(f".{step}.done"))


def test_features_of_another_dimension_are_refused(exp, tmp_path):
    output = fails(exp, "steps/forward.sh", "--nj", "1", "data/test_mfcc", "exp/dnn", str(tmp_path / "post"))
    assert "features of shape" in output and "the model was trained on dimension 20" in output


def test_an_experiment_of_another_configuration_is_refused(exp):
    places = ["data/train_fbank", "data/dev_fbank", "data/lang", "exp/ali_train", "exp/ali_dev", "exp/dnn"]
    output = fails(exp, "steps/train_dnn.sh", "--dnn-config", "conf/dnn.yaml", "--seed", "5", *places)
    assert "'training.seed' was 777 and is 5 now" in output


def test_a_missing_directory_is_named(exp):
    output = fails(exp, "steps/train_mono.sh", "data/nowhere", "data/lang", "exp/x")
    assert "data/nowhere/feats.scp" in output


def test_a_finished_step_is_only_looked_at_from_stage_1_on(exp, tmp_path):
    output = succeed(exp, "steps/train_mono.sh", "--stage", "1", "data/x", "data/lang", "exp/mono")
    assert "monophone system in exp/mono/final.mdl" in output
    output = fails(exp, "steps/train_mono.sh", "--stage", "1", "data/x", "data/lang", str(tmp_path))
    assert "final.mdl': train (or align) the model" in output
    post = str(exp / "exp/dnn/post_test")
    (exp / "exp/dnn/post_test/feats.scp").unlink()
    succeed(exp, "steps/forward.sh", "--stage", "1", "--nj", "2", "data/test_fbank", "exp/dnn", post)
    assert len((exp / "exp/dnn/post_test/feats.scp").read_text().splitlines()) == 8


def test_the_perplexity_is_told(exp):
    arguments = ["--stage", "2", "--order", "1", "--dev-text", "data/dev/text", "data/local/dict", "<UNK>"]
    output = succeed(exp, "steps/prepare_lang.sh", *arguments, "data/local/lm_train.txt", "data/lang")
    assert re.search(r"prepare_lang.sh: perplexity [3-5]\.\d+ on data/dev/text, 0 words outside", output)
