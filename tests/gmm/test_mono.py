"""Monophone training and alignment of data directories, on made-up speech whose phones are known."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dkt.base.checksums import NAME as CHECKSUMS
from dkt.base.errors import DktError
from dkt.bin import main
from dkt.decoder.training_graph import TrainingGraphCompiler
from dkt.decoder.viterbi import AlignOptions, UtteranceGraph, ViterbiAligner
from dkt.feat.functions import cmvn_stats
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.reader import FeatureReader
from dkt.gmm.align import align_directory
from dkt.gmm.gmm import load_gmm
from dkt.gmm.mono import MonoOptions, MonoTrainer, train_mono
from dkt.gmm.workers import WorkerPool
from dkt.hmm.alignments import AlignmentDir
from dkt.hmm.tree import load_tree
from dkt.lang.lang import LangOptions, prepare_lang
from dkt.util.data_dir import DataDir
from dkt.util.object_io import ObjectReader, replace_file
from dkt.util.symbols import read_symbol_table, read_transcripts
from dkt.util.table import MatrixWriter, read_int_vectors, read_matrices

LEXICON = {"bad": "B A D", "dab": "D A B", "add": "A D", "<UNK>": "SPN"}
CENTRES = {"SIL": (0.0, 0.0, 0.0), "A": (9.0, 0.0, 0.0), "B": (0.0, 9.0, 0.0), "D": (0.0, 0.0, 9.0)}
SPEAKERS = ("ann", "bob", "cat")
NUM_UTTS = 8
OPTIONS = MonoOptions(nj=2, num_iters=10, totgauss=40, max_iter_inc=5, delta_opts="--delta-order=1")

Truth = dict[str, list[str]]


def make_utterance(words: list[str], rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Frames of shape ``(T, 3)``, and the phone that each is of."""
    phones = ["SIL", *(phone for word in words for phone in LEXICON[word].split()), "SIL"]
    frame_phones = [phone for phone in phones for _ in range(rng.integers(10, 18))]
    means = np.array([CENTRES[phone] for phone in frame_phones])
    return means + rng.normal(size=means.shape), frame_phones


@pytest.fixture(scope="module")
def lang(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lang")
    files = {
        "lexicon.txt": [f"{word} {phones}" for word, phones in sorted(LEXICON.items())],
        "silence_phones.txt": ["SIL", "SPN"],
        "optional_silence.txt": ["SIL"],
        "nonsilence_phones.txt": ["A", "B", "D"],
        "extra_questions.txt": [],
    }
    (root / "dict").mkdir()
    for name, lines in files.items():
        (root / "dict" / name).write_text("".join(f"{line}\n" for line in lines))
    prepare_lang(root / "dict", "<UNK>", root / "lang")
    return root / "lang"


def write_data(data: Path, features: dict[str, np.ndarray], text: dict[str, str]) -> None:
    data.mkdir()
    with MatrixWriter(f"ark,scp:{data}/feats.ark,{data}/feats.scp") as writer:
        for utt, frames in features.items():
            writer.write(utt, frames.astype(np.float32))
    with MatrixWriter(f"ark,scp:{data}/cmvn.ark,{data}/cmvn.scp") as writer:
        for speaker in sorted({utt[:3] for utt in features}):
            own = np.concatenate([frames for utt, frames in features.items() if utt.startswith(speaker)])
            writer.write(speaker, cmvn_stats(own))
    (data / "utt2spk").write_text("".join(f"{utt} {utt[:3]}\n" for utt in features))
    (data / "text").write_text("".join(f"{utt} {words}\n" for utt, words in text.items()))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    rng = np.random.default_rng(0)
    features, text, truth = {}, {}, {}
    for offset, speaker in enumerate(SPEAKERS):
        for number in range(NUM_UTTS):
            utt = f"{speaker}-{number}"
            words = rng.choice(["bad", "dab", "add"], size=3).tolist()
            frames, truth[utt] = make_utterance(words, rng)
            features[utt], text[utt] = frames + 20.0 * offset, " ".join(words)
    data = tmp_path_factory.mktemp("data") / "train"
    write_data(data, features, text)
    return data, truth


@pytest.fixture
def data(corpus: tuple[Path, Truth], tmp_path: Path) -> Path:
    """A copy of the data directory that a test may spoil."""
    return Path(shutil.copytree(corpus[0], tmp_path / "data"))


@pytest.fixture(scope="module")
def system(
    corpus: tuple[Path, Truth], lang: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, MonoTrainer]:
    exp = tmp_path_factory.mktemp("exp") / "mono"
    return exp, train_mono(corpus[0], lang, exp, OPTIONS)


def alignments_of(directory: Path) -> dict[str, np.ndarray]:
    return dict(AlignmentDir(directory).transition_ids())


def set_text(data: Path, utt: str, words: str | None) -> None:
    """Replace the transcript of an utterance, or drop it."""
    lines = (data / "text").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(f"{utt} ")]
    kept += [] if words is None else [f"{utt} {words}"]
    (data / "text").write_text("".join(f"{line}\n" for line in sorted(kept)))


def test_training_finds_the_phones(
    corpus: tuple[Path, Truth], lang: Path, system: tuple[Path, MonoTrainer]
) -> None:
    exp, trainer = system
    names = {index: phone.split("_")[0] for phone, index in read_symbol_table(lang / "phones.txt").items()}
    right = total = 0
    for utt, ids in alignments_of(exp).items():
        truth = corpus[1][utt]
        assert len(ids) == len(truth)
        found = [names[phone] for phone in trainer.transitions.id2phone[ids].tolist()]
        right += sum(a == b for a, b in zip(found, truth, strict=True))
        total += len(truth)
    # Deltas blur the boundaries by two frames, and a flat start may settle on either side.
    assert right / total > 0.88
    assert trainer.loglikes[-1] > trainer.loglikes[0] + 1.0
    assert len(trainer.loglikes) == OPTIONS.num_iters


def test_directory_is_kaldis(lang: Path, system: tuple[Path, MonoTrainer]) -> None:
    exp, trainer = system
    assert sorted(path.name for path in exp.iterdir()) == [
        ".checksums", "10.mdl", "10.occs", "ali.1.gz", "ali.2.gz", "cmvn_opts", "delta_opts", "final.mdl",
        "final.occs", "num_jobs", "phones.txt", "tree",
    ]  # fmt: skip
    assert (exp / "final.mdl").readlink() == Path("10.mdl")
    assert (exp / "phones.txt").read_bytes() == (lang / "phones.txt").read_bytes()
    assert (exp / "cmvn_opts").read_text() == "\n"
    assert (exp / "delta_opts").read_text() == "--delta-order=1\n"
    transitions, gmm = load_gmm(exp / "final.mdl")
    assert gmm.dim == 6
    assert abs(gmm.num_gauss - OPTIONS.totgauss) <= 5
    assert load_tree(exp / "tree").num_pdfs == transitions.num_pdfs == gmm.num_pdfs
    occupancies = ObjectReader.open(exp / "final.occs").vector()
    ids = np.concatenate(list(alignments_of(exp).values()))
    np.testing.assert_allclose(
        occupancies, np.bincount(transitions.id2pdf[ids], minlength=gmm.num_pdfs), atol=1e-3
    )
    assert trainer.gmm.gconsts.tobytes() == gmm.gconsts.tobytes()


def test_jobs_have_whole_speakers_in_order(system: tuple[Path, MonoTrainer]) -> None:
    jobs = [[u for u, _ in read_int_vectors(f"ark:gunzip -c {system[0]}/ali.{j}.gz |")] for j in (1, 2)]
    assert [len(job) for job in jobs] == [16, 8]
    assert jobs[0] + jobs[1] == sorted(jobs[0] + jobs[1])


def test_result_does_not_depend_on_the_number_of_processes(
    corpus: tuple[Path, Truth], lang: Path, system: tuple[Path, MonoTrainer], tmp_path: Path
) -> None:
    exp, _ = system
    for name, nj in (("again", 2), ("alone", 1)):
        train_mono(corpus[0], lang, tmp_path / name, MonoOptions(**{**OPTIONS.__dict__, "nj": nj}))
        for file in ("final.mdl", "final.occs", "tree"):
            assert (tmp_path / name / file).read_bytes() == (exp / file).read_bytes(), (name, file)
    assert (tmp_path / "again" / "ali.1.gz").read_bytes() == (exp / "ali.1.gz").read_bytes()
    alone = alignments_of(tmp_path / "alone")
    for utt, ids in alignments_of(exp).items():
        np.testing.assert_array_equal(alone[utt], ids)


def test_directory_of_another_system_is_not_overwritten(
    corpus: tuple[Path, Truth], lang: Path, system: tuple[Path, MonoTrainer], tmp_path: Path
) -> None:
    exp = Path(shutil.copytree(system[0], tmp_path / "mono", symlinks=True))
    with pytest.raises(DktError, match=r"final\.mdl: is a system of feature dimension 6.* 9"):
        train_mono(corpus[0], lang, exp, MonoOptions(num_iters=2))
    (exp / "phones.txt").write_text((exp / "phones.txt").read_text().replace("A_B", "E_B"))
    with pytest.raises(DktError, match=r"phones\.txt: the phones are not those"):
        train_mono(corpus[0], lang, exp, OPTIONS)


def test_directory_with_a_transform_is_not_overwritten(
    corpus: tuple[Path, Truth], lang: Path, tmp_path: Path
) -> None:
    (tmp_path / "final.mat").write_bytes(b"of a system with LDA")
    with pytest.raises(DktError, match=r"final\.mat: is the transform of another system"):
        train_mono(corpus[0], lang, tmp_path, OPTIONS)


def test_utterance_without_speaker(data: Path, lang: Path, tmp_path: Path) -> None:
    lines = (data / "utt2spk").read_text().splitlines(keepends=True)
    (data / "utt2spk").write_text("".join(lines[:-1]))
    with pytest.raises(DktError, match=r"utt2spk: utterance 'cat-7': has no speaker"):
        train_mono(data, lang, tmp_path / "mono", OPTIONS)


def test_words_without_pronunciation(
    data: Path, lang: Path, system: tuple[Path, MonoTrainer], tmp_path: Path
) -> None:
    spoiled = Path(shutil.copytree(lang, tmp_path / "lang"))
    with (spoiled / "words.txt").open("a") as words:
        words.write("mute 99\n")
    set_text(data, "bob-5", "bad mute")
    with pytest.raises(DktError, match=r"utterance 'bob-5'.*'mute' has no pronunciation"):
        align_directory(data, spoiled, system[0], tmp_path / "ali")


def test_losses_are_counted_and_named(
    data: Path, lang: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    set_text(data, "ann-3", None)
    options = MonoOptions(nj=1, num_iters=3, totgauss=30, delta_opts="--delta-order=1", max_dropped=0.1)
    train_mono(data, lang, tmp_path / "mono", options)
    assert "'ann-3': it has features but no transcript" in caplog.text
    assert "ann-3" not in alignments_of(tmp_path / "mono")
    with pytest.raises(DktError, match="1 of 24 utterances were dropped"):
        train_mono(data, lang, tmp_path / "strict", MonoOptions(num_iters=3, max_dropped=0.01))
    assert not (tmp_path / "strict").exists()


def test_utterance_too_short_for_its_words_fails_alone(
    corpus: tuple[Path, Truth], lang: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    features = dict(read_matrices(f"scp:{corpus[0]}/feats.scp"))
    features["bob-1"] = features["bob-1"][:20]
    text = dict(line.split(maxsplit=1) for line in (corpus[0] / "text").read_text().splitlines())
    write_data(tmp_path / "data", features, text)
    options = MonoOptions(nj=1, num_iters=3, totgauss=30, max_dropped=0.1)
    trainer = train_mono(tmp_path / "data", lang, tmp_path / "mono", options)
    assert list(trainer.report.failed) == ["bob-1"]
    assert "dropped utterance 'bob-1': there are fewer frames than its transcript needs" in caplog.text
    assert set(features) - set(alignments_of(tmp_path / "mono")) == {"bob-1"}


def test_words_outside_the_lexicon(
    data: Path, lang: Path, system: tuple[Path, MonoTrainer], tmp_path: Path
) -> None:
    set_text(data, "cat-2", "bad zebra add")
    with pytest.raises(DktError, match=r"'cat-2'.*'zebra' is not in the lexicon"):
        align_directory(data, lang, system[0], tmp_path / "ali", oov_policy="error")
    align_directory(data, lang, system[0], tmp_path / "ali")
    spoken = read_symbol_table(lang / "phones.txt")["SPN_S"]
    ids = alignments_of(tmp_path / "ali")["cat-2"]
    assert spoken in system[1].transitions.id2phone[ids]


def test_a_text_in_another_letter_case_is_refused(
    data: Path, lang: Path, system: tuple[Path, MonoTrainer], tmp_path: Path
) -> None:
    text = (data / "text").read_text()
    (data / "text").write_text(
        "".join(f"{u} {w.upper()}\n" for u, w in (s.split(" ", 1) for s in text.splitlines()))
    )
    with pytest.raises(DktError, match=r"text: 72 of 72 words \(100.00 %\).*letter case \('ADD' for 'add'\)"):
        align_directory(data, lang, system[0], tmp_path / "ali")
    with pytest.raises(DktError, match=r"the limit is 10 % - write both in the same letter case"):
        train_mono(data, lang, tmp_path / "mono", OPTIONS)
    # The share may be allowed.
    align_directory(data, lang, system[0], tmp_path / "ali", max_oov=1.0, allow_implausible=True)


@pytest.fixture(scope="module")
def lang_without_silence(lang: Path) -> Path:
    prepare_lang(lang.with_name("dict"), "<UNK>", lang.with_name("no_silence"), LangOptions(sil_prob=0.0))
    return lang.with_name("no_silence")


def test_empty_transcripts_are_aligned_as_silence(
    data: Path, lang: Path, system: tuple[Path, MonoTrainer], tmp_path: Path
) -> None:
    for utt, words in (("ann-2", ""), ("bob-1", "  "), ("cat-3", "zebra"), ("cat-4", "zebra zebra")):
        set_text(data, utt, words)
    silence = read_symbol_table(lang / "phones.txt")["SIL"]
    align_directory(data, lang, system[0], tmp_path / "ali", max_dropped=0.0)
    trainer = train_mono(data, lang, tmp_path / "mono", replace(OPTIONS, max_dropped=0.0))
    for directory in (tmp_path / "ali", tmp_path / "mono"):
        alignments = alignments_of(directory)
        assert len(alignments) == 24
        for utt in ("ann-2", "bob-1"):
            assert set(trainer.transitions.id2phone[alignments[utt]].tolist()) == {silence}


def test_an_empty_transcript_without_silence_is_a_loss(
    data: Path, lang_without_silence: Path, system: tuple[Path, MonoTrainer], tmp_path: Path
) -> None:
    set_text(data, "ann-2", "")
    align_directory(data, lang_without_silence, system[0], tmp_path / "ali", allow_implausible=True)
    assert len(alignments_of(tmp_path / "ali")) == 23
    with pytest.raises(
        DktError, match=r"1 \(ann-2\): its transcript is empty, and the lexicon has no optional"
    ):
        align_directory(data, lang_without_silence, system[0], tmp_path / "ali", max_dropped=0.01)
    options = replace(OPTIONS, num_iters=3, allow_implausible=True)
    train_mono(data, lang_without_silence, tmp_path / "mono", options)
    with pytest.raises(DktError, match=r"ann-2"):
        train_mono(data, lang_without_silence, tmp_path / "mono", replace(options, max_dropped=0.0))


def test_the_line_of_figures(
    corpus: tuple[Path, Truth], lang: Path, system: tuple[Path, MonoTrainer], tmp_path: Path, caplog
) -> None:
    caplog.set_level("INFO")
    align_directory(corpus[0], lang, system[0], tmp_path / "ali")
    line = next(r.getMessage() for r in caplog.records if r.getMessage().startswith("alignment: "))
    truth = [phone for phones in corpus[1].values() for phone in phones]
    share = 100 * truth.count("SIL") / len(truth)
    found = re.search(r": (\d+\.\d) % of the frames are silence, 0.0 % of the phones last over 0.5 s", line)
    assert found is not None and float(found[1]) == pytest.approx(share, abs=1.0)
    assert line.endswith(
        "0 of 24 utterances (0.0 %) needed the second try, 0 of 72 words (0.00 %) are out of vocabulary"
    )


def test_align_makes_a_whole_alignment_directory(
    corpus: tuple[Path, Truth], lang: Path, system: tuple[Path, MonoTrainer], tmp_path: Path
) -> None:
    exp, ali = system[0], tmp_path / "ali"
    ali.mkdir()
    (ali / "ali.4.gz").write_text("of an earlier run with more jobs")
    arguments = [str(path) for path in (corpus[0], lang, exp, ali)]
    assert main(["align", "--nj=3", *arguments]) == 0
    assert sorted(path.name for path in ali.iterdir()) == [
        ".checksums", "ali.1.gz", "ali.2.gz", "ali.3.gz", "cmvn_opts", "delta_opts", "final.mdl",
        "final.occs", "num_jobs", "phones.txt", "tree",
    ]  # fmt: skip
    for name in ("final.mdl", "tree", "delta_opts"):
        assert (ali / name).read_bytes() == (exp / name).read_bytes()
    assert not (ali / "final.mdl").is_symlink()
    transitions, gmm = load_gmm(exp / "final.mdl")
    compiler = TrainingGraphCompiler(load_tree(exp / "tree"), transitions, lang)
    aligner = ViterbiAligner(gmm, transitions, AlignOptions())
    words = read_symbol_table(lang / "words.txt")
    text = read_transcripts(corpus[0] / "text")
    alignments = alignments_of(ali)
    assert set(alignments) == set(text)
    for utt, features in FeatureReader(DataDir(corpus[0]), FeatureOptions.of_gmm_dir(exp)):
        fst = compiler.compile([words[word] for word in text[utt]])
        expected = aligner.align(UtteranceGraph(fst, transitions), features).transition_ids
        np.testing.assert_array_equal(alignments[utt], expected)


def test_align_by_given_loglikes(
    corpus: tuple[Path, Truth], lang: Path, system: tuple[Path, MonoTrainer], tmp_path: Path
) -> None:
    places = [str(path) for path in (corpus[0], lang, system[0])]
    likes = tmp_path / "likes.ark"
    assert main(["gmm-compute-likes", str(system[0] / "final.mdl"), places[0], f"ark:{likes}"]) == 0
    assert main(["align", "--nj=2", *places, str(tmp_path / "gmm")]) == 0
    assert main(["align", "--nj=2", f"--loglikes=ark:{likes}", *places, str(tmp_path / "given")]) == 0
    for name in ("ali.1.gz", "ali.2.gz", "final.mdl", "tree"):
        assert (tmp_path / "given" / name).read_bytes() == (tmp_path / "gmm" / name).read_bytes()


def test_utterances_without_loglikes_are_counted(
    corpus: tuple[Path, Truth], lang: Path, system: tuple[Path, MonoTrainer], tmp_path: Path
) -> None:
    num_pdfs = system[1].transitions.num_pdfs
    likes = {"ann-1": np.zeros((90, num_pdfs)), "bob-1": np.zeros((90, num_pdfs - 1))}
    for utt, matrix in likes.items():
        with MatrixWriter(f"ark:{tmp_path}/{utt}.ark") as writer:
            writer.write(utt, matrix.astype(np.float32))

    def align(utt: str, silence_boost: float = 1.0) -> None:
        table = f"ark:{tmp_path}/{utt}.ark"
        target = tmp_path / "ali"
        align_directory(corpus[0], lang, system[0], target, loglikes=table, silence_boost=silence_boost)

    with pytest.raises(DktError, match=r"23 of 24 utterances were dropped.*it is not in ark:"):
        align("ann-1")
    with pytest.raises(DktError, match=f"expected {num_pdfs} columns"):
        align("bob-1")
    with pytest.raises(DktError, match="--boost-silence is of the GMM"):
        align("ann-1", silence_boost=1.5)


@pytest.mark.parametrize("command", ["align", "train-mono"])
def test_an_interrupted_rewrite_is_never_taken_for_a_whole_directory(
    corpus: tuple[Path, Truth],
    lang: Path,
    system: tuple[Path, MonoTrainer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    data, target = corpus[0], tmp_path / "target"

    def write() -> None:
        if command == "align":
            align_directory(data, lang, system[0], target, num_jobs=2)
        else:
            train_mono(data, lang, target, MonoOptions(nj=2, num_iters=2, max_iter_inc=1, realign_iters=(1,)))

    write()
    steps: list[str] = []

    def interrupt_in_step(number: int) -> None:
        steps.clear()

        def watched(path: str | Path, content: bytes) -> None:
            if Path(path).name != CHECKSUMS:  # they go with the file that they are of
                steps.append(Path(path).name)
                if len(steps) == number:
                    raise KeyboardInterrupt
            replace_file(path, content)

        for module in ("dkt.base.checksums", "dkt.gmm.align", "dkt.gmm.mono", "dkt.util.object_io"):
            monkeypatch.setattr(f"{module}.replace_file", watched)

    interrupt_in_step(0)
    write()
    order = steps.copy()
    assert order[-3:] == ["ali.1.gz", "ali.2.gz", "num_jobs"]
    assert order[-4] in ("final.mdl", "2.mdl")
    for number in (1, len(order) - 3, len(order) - 2, len(order)):
        interrupt_in_step(number)
        with pytest.raises(KeyboardInterrupt):
            write()
        with pytest.raises(DktError, match="num_jobs: does not exist"):
            AlignmentDir(target)
        assert (target / "final.mdl").exists() == (number > len(order) - 3)
    interrupt_in_step(0)
    write()
    assert sum(1 for _ in AlignmentDir(target).transition_ids()) == len(corpus[1])


def test_jobs_are_those_of_the_whole_data_directory(
    data: Path, lang: Path, system: tuple[Path, MonoTrainer], tmp_path: Path
) -> None:
    """What has no transcript must not move the bounds: Kaldi's stages pair ali.JOB.gz with split2/JOB."""
    for utt in ("bob-0", "bob-1", "bob-2", "bob-3", "bob-4", "bob-5", "bob-6", "bob-7", "ann-0"):
        set_text(data, utt, None)
    align_directory(data, lang, system[0], tmp_path / "ali", num_jobs=2, max_dropped=0.5)
    jobs = [[u for u, _ in read_int_vectors(f"ark:gunzip -c {tmp_path}/ali/ali.{j}.gz |")] for j in (1, 2)]
    assert [{utt[:3] for utt in job} for job in jobs] == [{"ann"}, {"cat"}]


def write_shift(data: Path, lang: Path, model: Path) -> None:
    (data / "frame_shift").write_text("10ms\n")


def drop_phones(data: Path, lang: Path, model: Path) -> None:
    (lang / "phones.txt").unlink()


def odd_phones(data: Path, lang: Path, model: Path) -> None:
    (lang / "phones.txt").write_text("<eps> 0\nSIL one\n")


def odd_occs(data: Path, lang: Path, model: Path) -> None:
    (model / "final.occs").unlink()
    (model / "final.occs").mkdir()


@pytest.mark.parametrize("of_training", [True, False])
@pytest.mark.parametrize("spoil", [write_shift, drop_phones, odd_phones, odd_occs])
def test_what_is_needed_at_the_end_is_read_before_the_work(
    data: Path, lang: Path, system: tuple[Path, MonoTrainer], tmp_path: Path, spoil, of_training, monkeypatch
) -> None:
    lang = Path(shutil.copytree(lang, tmp_path / "lang"))
    model = Path(shutil.copytree(system[0], tmp_path / "mono", symlinks=True))
    spoil(data, lang, model)
    monkeypatch.setattr(WorkerPool, "__init__", lambda *args: pytest.fail("the work has begun"))
    if of_training and spoil is odd_occs:
        return
    with pytest.raises(
        DktError, match=r"frame_shift: expected a number|phones.txt: |final.occs: cannot be read"
    ):
        if of_training:
            train_mono(data, lang, tmp_path / "new", OPTIONS)
        else:
            align_directory(data, lang, model, tmp_path / "ali")


def test_align_refuses_the_directory_of_the_model(
    corpus: tuple[Path, Truth], lang: Path, system: tuple[Path, MonoTrainer]
) -> None:
    before = (system[0] / "ali.1.gz").read_bytes()
    with pytest.raises(DktError, match="is the directory of the model"):
        align_directory(corpus[0], lang, system[0], system[0])
    assert (system[0] / "ali.1.gz").read_bytes() == before


def test_boosted_silence_takes_frames(
    corpus: tuple[Path, Truth], lang: Path, system: tuple[Path, MonoTrainer], tmp_path: Path
) -> None:
    silence = read_symbol_table(lang / "phones.txt")["SIL"]
    counts = []
    for name, boost in (("plain", 1.0), ("boosted", 1e3)):
        align_directory(corpus[0], lang, system[0], tmp_path / name, silence_boost=boost)
        ids = np.concatenate(list(alignments_of(tmp_path / name).values()))
        counts.append((system[1].transitions.id2phone[ids] == silence).sum())
    assert counts[1] > counts[0]


def test_gmm_compute_likes(
    corpus: tuple[Path, Truth], system: tuple[Path, MonoTrainer], tmp_path: Path
) -> None:
    features = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    with MatrixWriter(f"ark:{tmp_path}/feats.ark") as writer:
        writer.write("utt", features)
    model = str(system[0] / "final.mdl")
    command = ["gmm-compute-likes", model, f"ark:{tmp_path}/feats.ark", f"ark:{tmp_path}/likes.ark"]
    assert main(command) == 0
    ((utt, loglikes),) = read_matrices(f"ark:{tmp_path}/likes.ark")
    assert utt == "utt"
    np.testing.assert_array_equal(loglikes, system[1].gmm.loglikes(features))
    command[2] = f"ark:{corpus[0]}/feats.ark"
    assert main(command) == 1


class _Worker:
    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            raise DktError("does not exist", path=path)

    def die(self) -> None:
        os._exit(9)

    def threads(self) -> str:
        return os.environ["OPENBLAS_NUM_THREADS"]


def test_death_of_a_worker_is_an_error_and_not_a_hang() -> None:
    with WorkerPool(2, _Worker) as pool, pytest.raises(DktError, match="worker process died"):
        pool.call_all("die")


def test_error_in_a_worker_is_that_of_the_command() -> None:
    with pytest.raises(DktError, match=r"^L\.fst: does not exist$"):
        WorkerPool(1, _Worker, Path("L.fst"))


def test_workers_compute_in_one_thread_and_leave_the_parent_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with WorkerPool(1, _Worker) as pool:
        assert pool.call_all("threads") == ["1"]
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
    assert "OMP_NUM_THREADS" not in os.environ
