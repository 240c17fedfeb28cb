"""What ``dkt check`` calls fit is trained on; what it refuses a training with the same options refuses."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.dataset.utterances import load_utterances
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.reader import FeatureReader
from dkt.feat.speaker_inputs import SpeakerInputs
from dkt.gmm.mono import MonoOptions, train_mono
from dkt.hmm.alignments import AlignmentDir
from dkt.util.data_dir import DataDir
from dkt.util.object_io import ObjectWriter
from dkt.util.table import MatrixWriter, VectorWriter, read_matrices
from tests.fit_data import UTTS, place
from tests.gmm import test_mono
from tests.gmm.test_mono import corpus, lang, lang_without_silence, set_text
from tests.hmm.test_transitions import two_phone_model
from tests.synthetic import write_ali_dir, write_data_dir, write_matrices

__all__ = ["corpus", "lang", "lang_without_silence", "place"]

Plant = Callable[[Path], object]
ONES, LONG, BAD = np.ones((2, 4)), np.ones((26, 3)), np.full((20, 3), np.inf)
MEANS = "--norm-means=true --norm-vars=false"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def change(place: Path, name: str, key: str, matrix: np.ndarray | None) -> None:
    """Put another matrix into ``feats`` or ``cmvn``, or take it away."""
    data = place / "data"
    matrices = dict(read_matrices(f"scp:{data}/{name}.scp", np.float64)) | {key: matrix}
    write_matrices(data, name, {k: v for k, v in matrices.items() if v is not None})


def loads(place: Path, options: FeatureOptions, side: SpeakerInputs, max_dropped: float) -> str:
    """Why a training of a network refuses; empty if it does not."""
    try:
        reader = FeatureReader(DataDir(place / "data"), options, side)
        load_utterances(reader, AlignmentDir(place / "ali"), "data", max_dropped, cache_dir="none")
    except DktError as error:
        return str(error)
    return ""


NETWORK: dict[str, tuple[Plant, str, bool]] = {
    "nothing": (lambda p: None, "", True),
    "speaker without statistics": (lambda p: change(p, "cmvn", "b", None), "", False),
    "no statistics": (lambda p: (p / "data/cmvn.scp").unlink(), "", False),
    "statistics of nothing": (lambda p: change(p, "cmvn", "b", np.zeros((2, 4))), "", False),
    "statistics that are not numbers": (lambda p: change(p, "cmvn", "b", np.full((2, 4), np.nan)), "", False),
    "statistics of another dimension": (lambda p: change(p, "cmvn", "b", np.ones((2, 5))), "", False),
    "statistics of utterances": (
        lambda p: write_matrices(p / "data", "cmvn", dict.fromkeys(UTTS, ONES)),
        "",
        True,
    ),
    "statistics of some utterances": (
        lambda p: write_matrices(p / "data", "cmvn", dict.fromkeys(UTTS[:3], ONES)),
        "",
        False,
    ),
    "statistics of a speaker too many": (lambda p: change(p, "cmvn", "z", ONES), "", True),
    "nobody's statistics for nobody's features": (
        lambda p: [change(p, *where, None) for where in (("feats", "b-1"), ("feats", "b-2"), ("cmvn", "b"))],
        "0.5",
        True,
    ),
    "means only": (lambda p: change(p, "cmvn", "b", np.ones((1, 4))), "", True),
    "features that are not numbers": (lambda p: change(p, "feats", "a-1", BAD), "", False),
    "features of another dimension": (lambda p: change(p, "feats", "a-1", np.ones((20, 4))), "", False),
    "no frame": (lambda p: change(p, "feats", "a-1", np.ones((0, 3))), "", False),
    "no features": (lambda p: change(p, "feats", "a-1", None), "", False),
    "no features, which is allowed": (lambda p: change(p, "feats", "a-1", None), "0.25", True),
    "features without a speaker": (lambda p: edit(p / "data/utt2spk", "b-2 b\n", ""), "", False),
    "a model that cannot be read": (lambda p: (p / "ali/final.mdl").write_bytes(b"\0B<Trans"), "", False),
    "no number of jobs": (lambda p: (p / "ali/num_jobs").write_text("two\n"), "", False),
    "a job too many": (lambda p: (p / "ali/num_jobs").write_text("2\n"), "", False),
    "another length": (lambda p: change(p, "feats", "a-1", LONG), "", False),
    "another length, which is allowed": (lambda p: change(p, "feats", "a-1", LONG), "0.25", True),
    "a text that nobody reads": (lambda p: (p / "data/text").write_text("a-1 x\u00a0y\n"), "", True),
    "utterances out of order": (
        lambda p: edit(p / "data/utt2spk", "a-1 a\na-2 a\n", "a-2 a\na-1 a\n"), "", True
    ),
}  # fmt: skip


def test_another_dimension_without_cmvn(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(place, "feats", "a-1", np.ones((20, 4)))
    assert loads(place, FeatureOptions(), SpeakerInputs(), 0.5)
    assert (
        main(["check", "--cmvn=optional", "--max-dropped=0.5", str(place / "data"), str(place / "ali")]) == 1
    )
    assert "of dimension 4, expected 3 as of the others (a-1)" in capsys.readouterr().out


@pytest.mark.parametrize("fault", NETWORK)
def test_a_network(place: Path, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    plant, max_dropped, fit = NETWORK[fault]
    plant(place)
    reason = loads(place, FeatureOptions(cmvn_opts=MEANS), SpeakerInputs(), float(max_dropped or 0.05))
    assert (reason == "") is fit, reason
    options = ["--no-text", "--no-wav"] + ([f"--max-dropped={max_dropped}"] if max_dropped else [])
    status = main(["check", *options, str(place / "data"), str(place / "ali")])
    assert (status == 0) is fit, capsys.readouterr().out


def write_vectors(place: Path, vectors: dict[str, np.ndarray]) -> str:
    with VectorWriter(f"ark:{place}/ivectors.ark") as writer:
        for key, vector in vectors.items():
            writer.write(key, vector)
    return f"ark:{place}/ivectors.ark"


def write_transforms(place: Path, speakers: str, columns: int) -> str:
    (place / "gmm").mkdir()
    with MatrixWriter(f"ark:{place}/gmm/trans.1") as writer:
        for speaker in speakers.split():
            writer.write(speaker, np.eye(3, columns))
    return str(place / "gmm")


@pytest.mark.parametrize(
    ("transforms", "ivectors", "config", "max_dropped", "fit"),
    [
        (("a b", 4), None, None, 0.05, True),
        (("a b", 5), None, None, 0.05, False),
        (("a", 4), None, None, 0.05, False),
        (("a", 4), None, None, 0.5, True),
        (None, {"a": 2, "b": 2}, None, 0.05, True),
        (None, {"a": 2, "b": 3}, None, 0.05, False),
        (None, {"a": 2}, None, 0.05, False),
        (None, {"a": 2, "b-1": 2, "b-2": 2}, None, 0.05, True),
        (None, None, "features: {cmvn_opts: null}", 0.05, True),
        (None, None, "features: {cmvn_opts: --norm-vars=true}", 0.05, False),
        (None, None, "features: {cmvn_opts: --skip-dims=7}", 0.05, False),
        (None, None, "features: {paste: feats.scp pitch.scp}", 0.05, False),
    ],
)
def test_a_network_with_options(place, transforms, ivectors, config, max_dropped, fit, capsys) -> None:
    # The statistics of b hold means only.
    change(place, "cmvn", "b", np.ones((1, 4)))
    options = [f"--max-dropped={max_dropped}"]
    side = SpeakerInputs(
        write_transforms(place, *transforms) if transforms else None,
        write_vectors(place, {k: np.ones(dim) for k, dim in ivectors.items()}) if ivectors else None,
    )
    pipeline = FeatureOptions(
        cmvn_opts=MEANS, speaker_transforms=bool(transforms), ivector_dim=2 if ivectors else 0
    )
    if side.transform_dir:
        options.append(f"--transform-dir={side.transform_dir}")
    if side.ivectors:
        options.append(f"--ivectors={side.ivectors}")
    if config:
        (place / "dnn.yaml").write_text(config)
        options.append(f"--train-config={place}/dnn.yaml")
        name, _, value = config.removeprefix("features: {").removesuffix("}").partition(": ")
        pipeline = pipeline.replace(**{name: None if value == "null" else value})
    reason = loads(place, pipeline, side, max_dropped)
    assert (reason == "") is fit, reason
    status = main(["check", *options, str(place / "data"), str(place / "ali")])
    assert (status == 0) is fit, capsys.readouterr().out


def without_statistics(data: Path) -> None:
    lines = (data / "cmvn.scp").read_text().splitlines(keepends=True)
    (data / "cmvn.scp").write_text("".join(lines[1:]))


def constant(data: Path) -> None:
    matrices = dict(read_matrices(f"scp:{data}/feats.scp"))
    for matrix in matrices.values():
        matrix[:, 1] = 3.0
    write_matrices(data, "feats", matrices)
    write_matrices(data, "cmvn", dict.fromkeys(test_mono.SPEAKERS, np.array([[0, 0, 0, 9.0], [9, 9, 9, 0]])))


def short(data: Path, *utts: str) -> None:
    matrices = dict(read_matrices(f"scp:{data}/feats.scp"))
    write_matrices(data, "feats", {u: m[:20] if u in utts else m for u, m in matrices.items()})


def set_texts(data: Path, words: str, count: int) -> None:
    """Give the first utterances another transcript."""
    lines = (data / "text").read_text().splitlines()
    lines[:count] = [f"{line.split()[0]} {words}".rstrip() for line in lines[:count]]
    (data / "text").write_text("".join(f"{line}\n" for line in lines))


GMM: dict[str, tuple[Plant, bool]] = {
    "nothing": (lambda d: None, True),
    "speaker without statistics": (without_statistics, False),
    "an empty transcript": (lambda d: set_text(d, "ann-1", ""), True),
    "a transcript of unknown words": (lambda d: set_text(d, "ann-1", "zebra zebra"), True),
    "too many unknown words": (lambda d: set_text(d, "ann-1", " ".join(["zebra"] * 9)), False),
    "a reserved symbol": (lambda d: set_text(d, "ann-1", "bad </s>"), False),
    "epsilon": (lambda d: set_text(d, "ann-1", "bad <eps>"), False),
    "no text": (lambda d: (d / "text").unlink(), False),
    "an utterance without text": (lambda d: set_text(d, "ann-1", None), True),
    "two utterances without text": (lambda d: [set_text(d, u, None) for u in ("ann-1", "bob-1")], False),
    "two texts without an utterance": (
        lambda d: [set_text(d, u, "bad") for u in ("cat-x", "cat-y")], False
    ),
    "out of order": (lambda d: edit(d / "utt2spk", "ann-0 ann\nann-1 ann", "ann-1 ann\nann-0 ann"), False),
    "speakers out of order": (lambda d: edit(d / "utt2spk", "ann-0 ann\n", "ann-0 dan\n"), False),
    "no speaker": (lambda d: edit(d / "utt2spk", "bob-1 bob\n", ""), False),
    "a constant dimension": (constant, False),
    "one too short for its words": (lambda d: short(d, "ann-1"), True),
    "two too short for their words": (lambda d: short(d, "ann-1", "bob-2"), False),
    "an odd space": (lambda d: set_text(d, "ann-1", "bad\u3000add"), False),
    "a frame shift": (lambda d: (d / "frame_shift").write_text("0.0125\n"), True),
    "a frame shift with its unit": (lambda d: (d / "frame_shift").write_text("10ms\n"), False),
    "a frame shift of milliseconds": (lambda d: (d / "frame_shift").write_text("10\n"), False),
    "a frame shift of years": (lambda d: (d / "frame_shift").write_text("1e9\n"), False),
    "a frame shift that is almost one": (lambda d: (d / "frame_shift").write_text("0.0_1\n"), False),
    "nothing said": (lambda d: set_texts(d, "", 24), False),
    "little said": (lambda d: set_texts(d, "", 12), True),
    "nothing known": (lambda d: set_texts(d, "<UNK>", 24), False),
}  # fmt: skip


@pytest.mark.parametrize("fault", GMM)
def test_a_gmm(
    corpus: tuple[Path, object], lang: Path, tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plant, fit = GMM[fault]
    data = Path(shutil.copytree(corpus[0], tmp_path / "data"))
    plant(data)
    options = MonoOptions(nj=1, num_iters=3, totgauss=20, max_iter_inc=2, delta_opts="--delta-order=1")
    reason = ""
    try:
        train_mono(data, lang, tmp_path / "mono", options)
    except DktError as error:
        reason = str(error)
    assert (reason == "") is fit, reason
    status = main(["check", "--no-wav", f"--lang={lang}", str(data)])
    told = capsys.readouterr()
    assert (status == 0) is fit, told.out + told.err


LANG = {
    **{f"no {name}": (name, None) for name in (
        "L.fst", "topo", "words.txt", "oov.txt", "phones.txt", "phones/sets.int", "phones/disambig.int",
        "phones/optional_silence.csl",
    )},
    "phones that are none": ("phones/sets.int", "one\n"),
    "a phone without a topology": ("phones/sets.int", "1\n2\n99\n"),
    "phones without integers": ("phones.txt", "<eps> 0\nSIL\n"),
    "an oov word that is none": ("oov.txt", "<NONE>\n"),
    "an empty topology": ("topo", ""),
    "a text for a lexicon": ("L.fst", "0 1 2 3\n"),
    "silence that is none": ("phones/optional_silence.csl", "SIL\n"),
}  # fmt: skip


@pytest.mark.parametrize("fault", LANG)
def test_a_lang_directory(
    corpus: tuple[Path, object], lang: Path, tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, content = LANG[fault]
    other = Path(shutil.copytree(lang, tmp_path / "lang"))
    (other / name).unlink()
    if content is not None:
        (other / name).write_text(content)
    with pytest.raises(DktError):
        train_mono(corpus[0], other, tmp_path / "mono", MonoOptions(nj=1, num_iters=2))
    status = main(["check", "--no-wav", f"--lang={other}", str(corpus[0])])
    assert status == 1, capsys.readouterr().out


@pytest.fixture
def network_place(tmp_path: Path) -> Path:
    """``data``, ``dev``, their alignments, and matrices of several shapes: 3 features, 2 pdfs."""
    for name, speaker in (("data", "a"), ("dev", "b")):
        rng = np.random.default_rng(len(name))
        write_data_dir(tmp_path / name, {f"{speaker}-{n}": rng.normal(size=(20, 3)) for n in range(4)})
        ids = np.array([1, 1, 2, 3, 4, *[5] * 12, 6, 1, 2], dtype=np.int32)
        write_ali_dir(tmp_path / f"ali_{name}", two_phone_model(), {f"{speaker}-{n}": ids for n in range(4)})
    for columns in (9, 10, 33):
        matrix = ObjectWriter()
        matrix.matrix(np.eye(2, columns))
        matrix.save(tmp_path / f"{columns}.mat")
    return tmp_path


@pytest.mark.parametrize(
    ("recipe", "setting", "fit"),
    [
        ("dnn", "features.splice=1", True),
        ("dnn", "features.splice=19", True),
        ("dnn", "features.splice=20", False),
        ("dnn", "features.lda_dim=1", True),
        ("dnn", "features.lda_dim=5000", False),
        # More than the pdfs differ in.
        ("dnn", "features.lda_dim=12", False),
        ("dnn", "features={splice: 1, lda: 9.mat}", True),
        ("dnn", "features={splice: 1, lda: 10.mat}", True),
        ("dnn", "features={splice: 2, lda: 9.mat}", False),
        ("dnn", "features.lda=33.mat", True),
        ("dnn", "features.lda=9.mat", False),
        ("lstm", "network.target_delay=19", True),
        ("lstm", "network.target_delay=20", False),
        ("lstm", "network.target_delay=1000", False),
    ],
)
def test_the_configuration_of_a_network(network_place, recipe, setting, fit, monkeypatch, capsys) -> None:
    monkeypatch.chdir(network_place)
    small = {
        "dnn": "network={hidden_layers: 1, hidden_dim: 4}",
        "lstm": "network={layers: 1, cells: 4, projection: null}",
    }
    places = ["data", "dev", "ali_data", "ali_dev", "exp"]
    options = ["--set=features.cmvn_opts=null", f"--set={setting}"]
    quick = [
        f"--set={small[recipe]}",
        "--set=schedule={max_iters: 1, min_iters: 0}",
        "--use-gpu=no",
        "--num-threads=1",
    ]
    trained = main([f"train-{recipe}", *quick, *options, *places])
    reason = capsys.readouterr().err
    assert (trained == 0) is fit, reason
    status = main(["check", f"--recipe={recipe}", *options, "--no-text", "--no-wav", "data", "ali_data"])
    told = capsys.readouterr()
    assert (status == 0) is fit, told.out + told.err
    # In the words of the training.
    assert fit or reason.partition("ERROR (dkt train-")[2].partition(") ")[2].strip() in told.out


def test_cross_validation_data(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, ali, train = str(place / "data"), str(place / "ali"), tmp_path / "train"

    def status(matrices: dict[str, np.ndarray]) -> int:
        shutil.rmtree(train, ignore_errors=True)
        write_data_dir(train, matrices)
        return main(["check", "--no-text", "--no-wav", f"--train-data={train}", data, ali])

    assert status({"c-1": np.ones((9, 3))}) == 0
    assert status({"c-1": np.ones((9, 4))}) == 1
    assert f"features of dimension 3, {train} has 4" in capsys.readouterr().out
    assert status(dict.fromkeys(UTTS[:2], np.ones((9, 3)))) == 0
    assert f"2 utterances also in {train} (a-1, a-2)" in capsys.readouterr().out
    assert status(dict.fromkeys(UTTS, np.ones((9, 3)))) == 1


def test_alignments_that_cannot_be_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrices = {f"a-{number}": np.random.default_rng(number).normal(size=(600, 3)) for number in range(9)}
    write_data_dir(tmp_path / "data", matrices)
    arguments = ["check", "--no-text", "--no-wav", str(tmp_path / "data"), str(tmp_path / "ali")]

    def status(num_silence: int, *options: str) -> int:
        ids = np.array([1] * num_silence + [2, 3, 4] + [5] * (600 - num_silence - 4) + [6], dtype=np.int32)
        write_ali_dir(tmp_path / "ali", two_phone_model(), dict.fromkeys(matrices, ids))
        return main([*arguments, *options])

    assert status(300) == 0
    assert re.search(r"quality +ok +50.2 % of the frames are silence", capsys.readouterr().out)
    assert status(540) == 0
    assert re.search(r"quality +warning .*90.2 % of the frames are silence", capsys.readouterr().out)
    assert status(594) == 1
    assert re.search(r"quality +error .*99.2 % .*--allow-implausible lets it pass", capsys.readouterr().out)
    assert status(594, "--allow-implausible") == 0


def test_a_matrix_that_is_not_there(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for key in ("transform", "lda"):
        (place / "dnn.yaml").write_text(f"features: {{{key}: {place}/no.mat}}\n")
        assert (
            main(["check", f"--train-config={place}/dnn.yaml", str(place / "data"), str(place / "ali")]) == 1
        )
        assert "no.mat: cannot be read" in capsys.readouterr().err
    assert main(["check", "--set=features.spilce=3", str(place / "data")]) == 1
    assert "did you mean 'splice'" in capsys.readouterr().err


def test_a_word_that_nobody_can_pronounce(
    corpus: tuple[Path, object], lang: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(lang, tmp_path / "lang"))
    data = Path(shutil.copytree(corpus[0], tmp_path / "data"))
    with (other / "words.txt").open("a") as words:
        words.write("mute 99\n")
    assert main(["check", "--no-wav", f"--lang={other}", str(data)]) == 0
    set_text(data, "ann-1", "bad mute")
    with pytest.raises(DktError, match="word 'mute' has no pronunciation"):
        train_mono(data, other, tmp_path / "mono", MonoOptions(nj=1, num_iters=2))
    assert main(["check", "--no-wav", f"--lang={other}", str(data)]) == 1
    assert "1 word of the text without a pronunciation (mute in ann-1)" in capsys.readouterr().out


def test_more_jobs_than_utterances(corpus: tuple[Path, object], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--no-wav", "--nj=24", str(corpus[0])]) == 0
    assert main(["check", "--no-wav", "--nj=25", str(corpus[0])]) == 1
    assert "24 utterances for 25 jobs" in capsys.readouterr().out


def test_an_empty_transcript_without_optional_silence_is_a_loss(
    corpus: tuple[Path, object],
    lang: Path,
    lang_without_silence: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = Path(shutil.copytree(corpus[0], tmp_path / "data"))
    set_text(data, "ann-1", "")
    for path, lost in ((lang, 0), (lang_without_silence, 1)):
        assert main(["check", "--no-wav", f"--lang={path}", str(data)]) == 0
        assert f"{24 - lost} of 24 utterances" in capsys.readouterr().out
    assert main(["check", "--no-wav", f"--lang={lang_without_silence}", "--max-dropped=0", str(data)]) == 1
    assert (
        "its transcript is empty, and the lexicon has no optional silence (ann-1)" in capsys.readouterr().out
    )
