"""The recipe of the paper's corpus, on directories laid out as Kaldi's egs/aurora4/s5 leaves them: of tones
in fourteen conditions, and of real Kaldi."""

from __future__ import annotations

import csv
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import kaldialign
import numpy as np
import pytest
import soundfile

from dkt.hmm.alignments import AlignmentDir
from dkt.nnet.model_file import load_model
from dkt.train.history import load_history
from dkt.util.symbols import read_transcripts
from dkt.util.table import MatrixWriter, read_matrices
from tests.report_lab import score_into, write_test_set
from tests.shell import ROOT, fails, run, succeed
from tests.tones import RATE, write_corpus

S5 = ROOT / "egs/aurora4/s5"
RUN = "egs/aurora4/s5/run.sh"
SUFFIXES = "0123456789abcd"
SETS = ("train_si84_multi", "dev_0330", "test_eval92", "test_0166")
TEACHER, STUDENT = "dnn", "lstm-soft-T2"
DNN = """
features: {cmvn_opts: null, splice: 5, lda_dim: 12}
network: {hidden_layers: 2, hidden_dim: 32, activation: relu}
optimizer: {type: adam, minibatch_size: 64}
schedule: {learn_rate: 0.003, max_iters: 4}
"""
LSTM = """
features: {cmvn_opts: null}
network: {layers: 1, cells: 32, projection: 16, target_delay: 5}
batches: {num_streams: 4, chunk: 20}
schedule: {learn_rate: 0.01, max_iters: 4}
"""
MONO = ["--num-iters", "8", "--max-iter-inc", "6", "--totgauss", "40", "--realign-iters", "1 2 3 4 5 6 7"]
SMALL = (
    *("--kaldi-dir", "kaldi", "--data", "data", "--exp", "exp", "--nj", "1", "--dnn-config", "dnn.yaml"),
    *("--lstm-config", "lstm.yaml", "--fbank-config", "fbank.conf", "--students", STUDENT),
    *("--searched", STUDENT, "--beam", "12", "--lattice-beam", "4", "--lmwts", "5 15"),
)


#: Of noise by condition: none in clean speech, whatever the microphone.
LEVELS = (0.0, *[0.02] * 6, 0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06)


def write_conditions(source: Path, target: Path, audio: Path, copies: Mapping[str, Sequence[int]]) -> None:
    """A data set of copies in noise, behind commands as Kaldi's recipe has them.

    Args:
        source: the set that they are copies of.
        target: the data directory.
        audio: where the copies go.
        copies: the conditions, from 0 to 13, of the utterances.
    """
    target.mkdir(parents=True)
    audio.mkdir(parents=True, exist_ok=True)
    texts, wavs, speakers = (
        dict(line.split(maxsplit=1) for line in (source / name).read_text().splitlines())
        for name in ("text", "wav.scp", "utt2spk")
    )
    # So that words are lost, more of them from condition to condition.
    loud = 8.0 if target.name.startswith("test") else 1.0
    tables: dict[str, list[str]] = {name: [] for name in ("text", "wav.scp", "utt2spk")}
    for number, (utt, places) in enumerate(copies.items()):
        samples, _ = soundfile.read(wavs[utt])
        for place in places:
            # Kaldi's recipe gives all of a multi-condition training set one suffix.
            name = f"{utt}{'1' if target.name.startswith('train') else SUFFIXES[place]}"
            noise = np.random.default_rng((number, place)).normal(0.0, LEVELS[place], len(samples))
            soundfile.write(audio / f"{name}.wav", samples + noise * (loud if place > 7 else 1.0), RATE)
            words = f"<NOISE> {texts[utt]}" if place == 3 else texts[utt]
            values = {"text": words, "wav.scp": f"cat '{audio}/{name}.wav' |", "utt2spk": speakers[utt]}
            for table, value in values.items():
                tables[table].append(f"{name} {value}\n")
    for table, lines in tables.items():
        (target / table).write_text("".join(lines))
    write_spk2utt(target)


def write_spk2utt(data: Path) -> None:
    utts: dict[str, list[str]] = {}
    for line in (data / "utt2spk").read_text().splitlines():
        utts.setdefault(line.split()[1], []).append(line.split()[0])
    (data / "spk2utt").write_text("".join(f"{spk} {' '.join(of)}\n" for spk, of in utts.items()))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with configurations and ``kaldi``, which lacks alignments of dev and filterbanks."""
    path = tmp_path_factory.mktemp("aurora")
    kaldi = path / "kaldi"
    write_corpus(path / "corpus")
    utts = [f"train{speaker}-{number:02d}" for speaker in range(3) for number in range(14)]
    every = tuple(range(14))
    for name, copies in {
        "train_si84_multi": {utt: (number % 14,) for number, utt in enumerate(utts)},
        "dev_0330": {"dev0-00": every},
        "test_eval92": {"test0-00": every, "test1-00": every},
        "test_0166": {"test0-00": every},
    }.items():
        source = path / "corpus" / name.split("_")[0]
        write_conditions(source, kaldi / "data" / name, path / "audio" / name, copies)
    lexicon = path / "corpus/local/dict/lexicon.txt"
    lexicon.write_text(f"<NOISE> SPN\n{lexicon.read_text()}")
    (kaldi / "conf").mkdir()
    for conf in (kaldi / "conf/mfcc.conf", path / "fbank.conf"):
        bins = "num-mel-bins=20" if conf.name == "fbank.conf" else "use-energy=false"
        conf.write_text(f"--sample-frequency={RATE}\n--{bins}\n")
    (path / "dnn.yaml").write_text(DNN)
    (path / "lstm.yaml").write_text(LSTM)
    texts = [str(path / f"corpus/local/{name}") for name in ("dict", "lm_train.txt")]
    succeed(kaldi, "steps/prepare_lang.sh", "--order", "1", texts[0], "<UNK>", texts[1], "data/lang")
    for name in SETS[:2]:
        succeed(kaldi, "steps/make_mfcc.sh", "--nj", "1", f"data/{name}")
        succeed(kaldi, "steps/compute_cmvn_stats.sh", f"data/{name}")
    gmm = "exp/tri2b_multi"
    succeed(kaldi, "steps/train_mono.sh", "--nj", "1", *MONO, f"data/{SETS[0]}", "data/lang", gmm)
    succeed(kaldi, "steps/mkgraph.sh", "data/lang", gmm, f"{gmm}/graph_tgpr_5k")
    shutil.copytree(kaldi / gmm, kaldi / f"{gmm}_ali_si84", ignore=shutil.ignore_patterns("graph*", ".*"))
    return path


@pytest.fixture(scope="module")
def done(place: Path) -> Path:
    """Where the recipe has run, from audio to the tables."""
    output = succeed(place, RUN, *SMALL)
    assert "=== stage 2: alignments of dev_0330 [" in output and "=== done in" in output
    return place


def test_a_student_has_learnt_from_the_teacher(done: Path) -> None:
    teacher, student = (done / f"exp/{system}_seed777" for system in (TEACHER, STUDENT))
    log = (student / "log/train.log").read_text()
    for option, part in (("soft-targets", "train"), ("soft-targets-dev", "dev")):
        assert f"--{option}={teacher}/soft_{part}" in log
    assert "--temperature=2" in log and "--mode=soft" in log
    for directory in (teacher, student):
        curve = load_history(directory / "history.csv")
        assert max(row["cv_frame_acc"] for row in curve) > 60.0, curve
    # 11 frames of 20 filterbanks to 12 values; one frame as it is.
    shapes = [tuple(value.shape) for value in load_model(teacher / "final.pt")[1].state_dict().values()]
    assert (12, 220) in shapes and (32, 12) in shapes
    assert load_model(student / "final.pt")[1].config.target_delay == 5


def test_every_set_is_decoded_at_the_weight_that_dev_chose(done: Path) -> None:
    model = done / f"exp/{STUDENT}_seed777"
    assert len(list((model / "decode_dev_0330").glob("wer_[0-9]*"))) == 2
    weight = (model / "decode_dev_0330/scoring_kaldi/wer_details/lmwt").read_text().strip()
    for name, num_utts in (("eval92", 28), ("0166", 14)):
        (scored,) = (model / f"decode_{name}").glob("wer_[0-9]*")
        assert scored.name == f"wer_{weight}_0.0"
        references = read_transcripts(model / f"decode_{name}/scoring_kaldi/test_filt.txt")
        # Kaldi's own scoring takes noise out of the references, too.
        assert len(references) == num_utts and not any("<NOISE>" in text for text in references.values())
        assert sum(map(len, references.values())) == count_words(done / f"kaldi/data/test_{name}")
    assert len(list((done / "exp").glob("*/decode_*"))) == 3, "what --searched does not name is not decoded"


def count_words(data: Path) -> int:
    """Words of a text of Kaldi's, those that stand for noise not counted."""
    return sum(word != "<NOISE>" for text in read_transcripts(data / "text").values() for word in text)


def test_the_table_of_conditions_is_what_was_recognised(done: Path) -> None:
    """Counted anew, from the texts that the decoding left."""
    with (done / "exp/report/conditions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    told = {(row["set"], row["system"], row["condition"]): row for row in rows}
    scored = done / f"exp/{STUDENT}_seed777/decode_eval92/scoring_kaldi"
    (found,) = scored.glob("penalty_0.0/*.txt")
    references, hypotheses = read_transcripts(scored / "test_filt.txt"), read_transcripts(found)
    words, errors = dict.fromkeys(SUFFIXES, 0), dict.fromkeys(SUFFIXES, 0)
    for utt, reference in references.items():
        words[utt[-1]] += len(reference)
        errors[utt[-1]] += kaldialign.edit_distance(reference, hypotheses[utt])["total"]
    columns = {"A (clean)": "0", "B (noise)": "123456", "C (mic 2)": "7", "D (noise, mic 2)": "89abcd"}
    columns |= {"all": SUFFIXES, "01 clean": "0", "07 train": "6", "08 clean, mic 2": "7", "14 train": "d"}
    different = set()
    for column, suffixes in columns.items():
        row = told["eval92", STUDENT, column]
        sums = [sum(counts[suffix] for suffix in suffixes) for counts in (words, errors)]
        assert [int(row["words"]), int(row["errors"])] == sums, column
        assert float(row["wer"]) == pytest.approx(100 * sums[1] / sums[0], abs=0.005)
        different.add(row["wer"])
    assert len(different) > 3, "a table of equal values says nothing of its columns"
    table = (done / "exp/report/conditions.md").read_text()
    assert [line for line in table.splitlines() if line.startswith("WER on")] == [
        f"WER on {name} by group of conditions, then by condition:" for name in ("dev_0330", "eval92", "0166")
    ]


def test_reports_of_all_sets(done: Path) -> None:
    for report, name, systems in (
        ("report", "eval92", [TEACHER, STUDENT]),
        ("report/0166", "0166", [STUDENT]),
    ):
        with (done / "exp" / report / "results.csv").open() as stream:
            wers = {row["system"]: row["test_wer"] for row in csv.DictReader(stream) if row["seed"] == "all"}
        assert list(wers) == systems
        best = (done / f"exp/{STUDENT}_seed777/decode_{name}/scoring_kaldi/best_wer").read_text()
        assert best.startswith(f"%WER {wers[STUDENT]} [")


def test_again_it_does_nothing_and_another_list_of_test_sets_trains_nothing(done: Path) -> None:
    made = [*(done / "exp").glob("*/final.pt"), *(done / "exp").glob("*/decode_*/lat.1.gz")]
    made += [*(done / "data").glob("*/feats.scp"), *(done / "exp").glob("*/soft_*/soft.scp")]
    times = {path: path.stat().st_mtime_ns for path in made}
    assert len(times) == 2 + 3 + 4 + 2
    output = succeed(done, RUN, *SMALL, "--stop-stage", "6")
    assert output.count("done already (--stage") == 7 and "running, log" not in output
    output = succeed(done, RUN, *SMALL, "--stop-stage", "6", "--test-sets", "test_0166")
    assert "running, log" not in output and "=== stage 3: DNN: done already" in output
    assert {path: path.stat().st_mtime_ns for path in made} == times


@pytest.mark.parametrize(
    ("missing", "options", "message"),
    [
        ("data/test_0166/wav.scp", [], "no file 'data/test_0166/wav.scp': prepare the data directory first"),
        ("exp/tri2b_multi/graph_tgpr_5k/HCLG.fst", [], "HCLG.fst': build the graph first (mkgraph)"),
        ("data/dev_0330/cmvn.scp", [], "no file 'data/dev_0330/cmvn.scp': compute the CMVN statistics first"),
        ("", ["--ali-dev", "exp/ali"], "no file 'exp/ali/final.mdl': train (or align) the model"),
        ("", ["--fbank-dir", "fbank"], "no file 'fbank/train_si84_multi/feats.scp': make the features first"),
        ("", ["--test-sets", " "], "--test-sets is empty"),
        ("", ["--test-sets", "test_0166 test_0166"], "decode directory decode_0166 is named twice"),
        ("", ["--test-sets", "../x"], "'../x' is not the name of a data set"),
        ("", ["--lmwts", "-1"], "--lmwts is '-1', expected numbers above 0"),
        ("", ["--searched", "lstm"], "--searched: 'lstm' is not trained"),
    ],
)
def test_what_is_missing_is_named_before_anything_runs(
    place: Path, tmp_path: Path, missing: str, options: list[str], message: str
) -> None:
    moved = place / "kaldi" / (missing or "data/text")
    if missing:
        moved.rename(tmp_path / "moved")
    try:
        done = run(place, RUN, *SMALL, "--exp", str(tmp_path / "exp"), *options)
    finally:
        if missing:
            (tmp_path / "moved").rename(moved)
    assert done.returncode != 0 and message in done.stderr and len(done.stderr.splitlines()) == 1
    assert done.stdout == "" and not (tmp_path / "exp").exists()


def test_a_speaker_adapted_gmm_is_not_asked_to_align(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "kaldi/exp/tri2b_multi", place / "kaldi/exp/tri3b_multi")
    shutil.copy(place / "kaldi/exp/tri3b_multi/final.mdl", place / "kaldi/exp/tri3b_multi/final.alimdl")
    gmm = ["--gmm", "exp/tri3b_multi", "--ali-train", "exp/tri2b_multi_ali_si84"]
    output = fails(place, RUN, *SMALL, "--exp", str(tmp_path / "exp"), *gmm)
    assert "exp/tri3b_multi is speaker-adapted: align dev_0330 by Kaldi's steps/align_fmllr.sh" in output


def test_a_graph_of_another_model_is_refused(place: Path, tmp_path: Path) -> None:
    graph = tmp_path / "graph"
    shutil.copytree(place / "kaldi/exp/tri2b_multi/graph_tgpr_5k", graph)
    assert (graph / "num_pdfs").read_text().strip() == "19"
    (graph / "num_pdfs").write_text("2008\n")
    output = fails(place, RUN, *SMALL, "--exp", str(tmp_path / "exp"), "--graph", str(graph))
    assert f"{graph} is of a model of 2008 pdfs, exp/tri2b_multi_ali_si84/final.mdl has 19" in output
    assert not (tmp_path / "exp").exists()


def prepare(source: Path, target: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(S5 / "local/prepare_data.py"), *options, str(source), str(target)]
    return subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})


def test_utterances_of_no_condition_are_refused_where_data_are_prepared(tmp_path: Path) -> None:
    data = write_test_set(tmp_path / "kaldi", {"a-00": ["ONE"], "a-0e": ["TWO"]})
    done = prepare(data, tmp_path / "data", "--decoded")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"{data}/text: utterance 'a-0e': the utterance-id ends with 'e', expected the cond" in done.stderr
    # Training data may be of one condition, and of any name.
    assert prepare(data, tmp_path / "data").returncode == 0


def test_lists_that_have_not_changed_stay(tmp_path: Path) -> None:
    """A new time would make features anew."""
    data = write_test_set(tmp_path / "kaldi", {"a-00": ["<NOISE>", "ONE", "<SPOKEN_NOISE>"], "a-01": ["TWO"]})
    (data / "wav.scp").write_text("a-00 sox a.wv1 -t wav - |\na-01 sox b.wv1 -t wav - |\n")
    (data / "feats.scp").write_text("a-00 mfcc.ark:4\n")
    (data / "cmvn.scp").write_text("a mfcc.ark:4\n")
    ours = tmp_path / "data"
    assert prepare(data, ours, "--decoded", "--audio").returncode == 0
    assert (ours / "text").read_text() == "a-00 ONE\na-01 TWO\n"
    assert (ours / "wav.scp").read_text() == (data / "wav.scp").read_text()
    assert {path.name for path in ours.iterdir()} == {"text", "utt2spk", "wav.scp"}
    times = {path.name: path.stat().st_mtime_ns for path in ours.iterdir()}
    (data / "text").write_text("a-00 ONE\na-01 THREE\n")
    assert prepare(data, ours, "--decoded", "--audio").returncode == 0
    again = {path.name: path.stat().st_mtime_ns for path in ours.iterdir()}
    assert {name for name, time in again.items() if times[name] != time} == {"text"}


def write_features(data: Path, features: dict[str, np.ndarray], speakers: dict[str, str]) -> None:
    """A data directory of some features, with statistics of CMVN that are of others."""
    data.mkdir(parents=True)
    with MatrixWriter(f"ark,scp:{data}/feats.ark,{data}/feats.scp") as writer:
        for utt, matrix in features.items():
            writer.write(utt, matrix)
    (data / "utt2spk").write_text("".join(f"{utt} {speakers[utt]}\n" for utt in features))
    (data / "cmvn.scp").write_text("".join(f"{speaker} nowhere.ark:1\n" for speaker in speakers.values()))
    write_spk2utt(data)


@pytest.fixture
def of_kaldi(kaldi_fixtures: Path, tmp_path: Path) -> Path:
    """What Kaldi's recipe leaves, but the alignments of dev: a few utterances under ids of conditions."""
    golden, kaldi = kaldi_fixtures / "golden/features", tmp_path / "kaldi"
    mfcc, statistics = (dict(read_matrices(f"ark:{golden}/{name}.ark")) for name in ("mfcc_raw", "mfcc_cmvn"))
    texts = read_transcripts(kaldi_fixtures / "data/dev/text")
    speakers = dict(line.split() for line in (golden / "utt2spk").read_text().splitlines())
    named = {utt: f"{utt}{suffix}" for utt, suffix in zip(mfcc, SUFFIXES, strict=False)}
    for place, name in (("data", "dev_0330"), *(("data-fbank", name) for name in SETS)):
        data = kaldi / place / name
        write_features(
            data,
            {named[utt]: matrix for utt, matrix in mfcc.items()},
            {named[utt]: speakers[utt] for utt in mfcc},
        )
        (data / "text").write_text("".join(f"{named[utt]} {' '.join(texts[utt])}\n" for utt in mfcc))
    with MatrixWriter(f"ark,scp:{kaldi}/cmvn.ark,{kaldi}/data/dev_0330/cmvn.scp") as writer:
        for speaker, matrix in statistics.items():
            writer.write(speaker, matrix)
    (kaldi / "data/lang").symlink_to(kaldi_fixtures / "lang")
    (kaldi / "exp").mkdir()
    (kaldi / "exp/tri2b_multi_ali_si84").symlink_to(kaldi_fixtures / "exp/tri2b_ali")
    # As Kaldi's recipe has it, options beside the model.
    (kaldi / "exp/tri2b_multi").mkdir()
    for path in (kaldi_fixtures / "exp/tri2b_ali").iterdir():
        if not path.name.startswith("ali."):
            (kaldi / "exp/tri2b_multi" / path.name).symlink_to(path)
    (kaldi / "exp/tri2b_multi/graph_tgpr_5k").symlink_to(kaldi_fixtures / "exp/tri2b/graph")
    return tmp_path


def test_dev_is_aligned_as_kaldi_aligns_it(of_kaldi: Path, kaldi_fixtures: Path) -> None:
    """By Kaldi's triphones on LDA and MLLT, frame by frame; filterbanks are those that are there."""
    before = sorted((of_kaldi / "kaldi").rglob("*"))
    output = succeed(of_kaldi, RUN, *SMALL[:8], "--stop-stage", "2")
    assert "make_fbank.sh" not in output
    assert sorted((of_kaldi / "kaldi").rglob("*")) == before, "nothing is written into Kaldi's directory"
    theirs = AlignmentDir(kaldi_fixtures / "exp/tri2b_ali_dev").pdfs()
    ours = AlignmentDir(of_kaldi / "exp/ali_dev_0330").pdfs()
    assert len(ours) == 6
    for utt, pdfs in ours.items():
        np.testing.assert_array_equal(pdfs, theirs[utt[:-1]])
    # Of the features of the networks, not those that Kaldi's recipe has copied with the lists.
    for name in SETS:
        statistics = dict(read_matrices(f"scp:{of_kaldi}/data/{name}/cmvn.scp"))
        lengths = (of_kaldi / f"data/{name}/feats.scp").read_text().splitlines()
        assert statistics["0575"].shape == (2, 14) and len(lengths) == 6


@pytest.fixture
def conditions() -> Iterator[ModuleType]:
    """The script of the table as a module."""
    spec = importlib.util.spec_from_file_location("conditions", S5 / "local/conditions.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["conditions"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["conditions"]


def test_groups_hold_every_condition_once(conditions: ModuleType) -> None:
    names, groups = conditions.CONDITIONS, conditions.GROUPS
    assert [n for name, places in groups.items() if name != "all" for n in places] == list(range(14))
    assert list(groups["all"]) == list(range(14))
    assert names[0] == "01 clean" and names[7] == "08 clean, mic 2"
    assert [names[n] for n in groups["B (noise)"]][::5] == ["02 car", "07 train"]
    assert [names[n] for n in groups["D (noise, mic 2)"]][::5] == ["09 car", "14 train"]


@pytest.fixture
def scored(tmp_path: Path) -> Callable[[str, dict[str, str]], Path]:
    """Returns a function that scores an experiment on four conditions: 01, 02, 08 and 14."""
    references = {f"a-{n}{suffix}": ["ONE", "TWO"] for n in range(2) for suffix in "017d"}
    data = write_test_set(tmp_path / "data", references)

    def make(name: str, changes: dict[str, str]) -> Path:
        score_into(tmp_path / name / "decode_eval92", data, changes, references)
        return tmp_path / name

    return make


def tabulate(*systems: str, out: Path, decode: str = "decode_eval92") -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        str(S5 / "local/conditions.py"),
        f"--out={out}",
        f"--decode={decode}",
        *systems,
    ]
    return subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})


def test_seeds_are_averaged_and_what_was_not_decoded_is_a_dash(
    scored: Callable[[str, dict[str, str]], Path], tmp_path: Path
) -> None:
    first = scored("dnn_seed1", {"a-01": "ONE", "a-0d": "ONE", "a-1d": "ONE TWO ONE"})
    second = scored("dnn_seed2", {"a-01": "", "a-11": "ONE"})
    done = tabulate(f"dnn={first}", f"dnn={second}", out=tmp_path / "out")
    assert done.returncode == 0, done.stderr
    groups, each = (
        [cell.strip() for cell in line.split("|")[2:-1]]
        for line in (tmp_path / "out/conditions.md").read_text().splitlines()
        if line.startswith("| dnn")
    )
    # Of 4 words of a condition 1 and 3 wrong; 2 and 0; of all 16 words 3 and 3.
    assert groups == ["0.00 ±0.00", "50.00 ±35.36", "0.00 ±0.00", "25.00 ±35.36", "18.75 ±0.00"]
    assert each[1] == "50.00 ±35.36" and each[13] == "25.00 ±35.36" and set(each[2:7]) == {"-"}


@pytest.mark.parametrize(
    ("decode", "message"),
    [
        ("decode_0166", "decode_0166: has no scoring_kaldi/wer_details/per_utt - score it first"),
        ("decode_bad", "decode_bad: utterance 'x': the utterance-id ends with 'x', expected the condition"),
    ],
)
def test_what_cannot_be_counted_is_named(tmp_path: Path, decode: str, message: str) -> None:
    data = write_test_set(tmp_path / "data", {"x": ["ONE"]})
    score_into(tmp_path / "dnn/decode_bad", data, None, {"x": ["ONE"]})
    done = tabulate(f"dnn={tmp_path}/dnn", out=tmp_path / "out", decode=decode)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
