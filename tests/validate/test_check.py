"""``dkt check``: features and alignments, what a training would lose, and Kaldi's own directories."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from dkt.base.findings import Level
from dkt.bin import main
from dkt.hmm.alignments import LENGTH_TOLERANCE as TRAINING_TOLERANCE
from dkt.hmm.topology import HmmState, HmmTopology
from dkt.hmm.transition_model import TransitionModel, initial_tuples
from dkt.hmm.tree import monophone_tree, save_tree
from dkt.util.table import IntVectorWriter
from dkt.validate.alignments import LENGTH_TOLERANCE
from dkt.validate.check import CheckOptions
from dkt.validate.data import DataCheckOptions
from tests.fit_data import UTTS, features, found, labels, place, report_of
from tests.hmm.test_transitions import two_phone_model
from tests.synthetic import write_ali_dir, write_data_dir, write_matrices

__all__ = ["place"]

WARNING, ERROR = Level.WARNING, Level.ERROR
REQUIRED = CheckOptions(DataCheckOptions(cmvn=Level.ERROR))


def write_feats(place, **changed):
    """Features with those of some utterances (``a_1``) changed."""
    matrices = features() | {utt.replace("_", "-"): matrix for utt, matrix in changed.items()}
    write_matrices(place / "data", "feats", matrices)


def write_ali(place, model=None, **changed):
    """Alignments with those of some utterances changed; None for no alignment."""
    alignments = {utt: labels() for utt in UTTS}
    alignments |= {utt.replace("_", "-"): ids for utt, ids in changed.items()}
    known = {utt: ids for utt, ids in alignments.items() if ids is not None}
    write_ali_dir(place / "ali", model or two_phone_model(), known)


def nan(value):
    matrix = features()["a-2"]
    matrix[3, 1] = value
    return matrix


def long_phone_model() -> TransitionModel:
    """A silence of one state and a phone of one state, of three pdfs like the two-phone model."""
    one = [HmmState(0, 0, [(0, 0.5), (1, 0.5)]), HmmState()]
    topology = HmmTopology([one], {1: 0, 2: 0, 3: 0})
    return TransitionModel(topology, initial_tuples(topology, {(phone, 0): phone - 1 for phone in (1, 2, 3)}))


def cut_archive(place):
    path = place / "data/feats.ark"
    path.write_bytes(path.read_bytes()[:-30])


def cut_alignments(place):
    path = place / "ali/ali.1.gz"
    path.write_bytes(path.read_bytes()[:-20])


def two_jobs(place):
    (place / "ali/num_jobs").write_text("2\n")
    with IntVectorWriter(f"ark:| gzip -c > '{place}/ali/ali.2.gz'") as ali:
        ali.write("b-1", labels())


def write_tree_of_one_pdf(place):
    save_tree(place / "ali/tree", monophone_tree([[1, 2, 3]], long_phone_model().topology))


FAULTS = [
    (lambda p: write_feats(p, a_2=nan(np.nan)), "features", r"feats\.scp: .*not a number \(a-2\)"),
    (lambda p: write_feats(p, a_2=nan(np.inf)), "features", r"feats\.scp: .*not a number \(a-2\)"),
    (lambda p: write_feats(p, b_1=np.zeros((0, 3))), "features", r"feats\.scp: .*without a frame.* \(b-1\)"),
    (
        lambda p: write_feats(p, a_1=np.zeros((20, 4))),
        "features",
        r"feats\.scp: 1 utterance of dimension 4, expected 3 as of the others \(a-1\)",
    ),
    (cut_archive, "features", r"1 utterance that cannot be read.*feats\.ark.*\(b-2\)"),
    (
        lambda p: (p / "data/feats.ark").unlink(),
        "features",
        r"4 utterances that cannot .*\(a-1, a-2, b-1, b-2\)",
    ),
    (
        lambda p: write_ali(p, a_2=labels() + np.int32(5)),
        "pdfs",
        r"ali: 1 utterance with transition-ids beyond .* has 6 and 3 pdfs \(a-2: 11\)",
    ),
    (lambda p: write_ali(p, a_2=labels() * 0), "pdfs", r"ali: 1 utterance .*\(a-2: 0\)"),
    (
        # As the phone of one state may follow silence, but not the second state of a phone.
        lambda p: write_ali(p, a_1=np.array([*[1] * 17, 2, 5, 6])),
        "topology",
        r"ali: 1 utterance .*another model or topology \(a-1: frame 19\)",
    ),
    (cut_alignments, "alignment", r"ali/ali\.1\.gz: broken gzip file"),
    (two_jobs, "alignment", r"ali: 1 utterance aligned twice \(b-1\)"),
    (lambda p: (p / "ali/num_jobs").write_text("2\n"), "alignment", r"ali\.2\.gz.*does not exist"),
    (lambda p: (p / "ali/final.mdl").write_bytes(b"\0B<Trans"), "alignment", r"ali/final\.mdl: "),
    (
        lambda p: (p / "ali/frame_subsampling_factor").write_text("3\n"),
        "alignment",
        r"frame_subsampling_factor: .*chain model.* - align with the GMM",
    ),
    (write_tree_of_one_pdf, "tree", r"ali/tree: 1 pdf, but final\.mdl has 3"),
    (
        lambda p: (p / "ali/phones.txt").write_text("<eps> 0\nSIL 1\nB 2\n"),
        "phones.txt",
        r"ali/phones\.txt: other phones than .*lang/phones\.txt: 'B 2', not 'A 2'",
    ),
    (
        lambda p: (p / "ali/phones.txt").write_text("<eps> 0\nSIL 1\n"),
        "phones.txt",
        r"ali/phones\.txt: .*'nothing', not 'A 2'",
    ),
]


@pytest.mark.parametrize(("plant", "check", "message"), FAULTS)
def test_what_a_training_would_stop_at_is_an_error(place, plant, check, message):
    plant(place)
    assert any(c == check and re.search(message, text) for c, text in found(report_of(place), ERROR))
    assert main(["check", f"--lang={place}/lang", str(place / "data"), str(place / "ali")]) == 1


def test_two_faults_at_once_are_both_told(place, capsys):
    write_feats(place, a_2=nan(np.nan), b_1=np.zeros((20, 4)))
    write_ali(place, a_1=None, b_2=labels() + np.int32(5))
    (place / "data/text").write_bytes("a-1 CAFÉ\na-2 X\nb-1 X\nb-2 X\n".encode("latin-1"))
    assert main(["check", str(place / "data"), str(place / "ali")]) == 1
    told = capsys.readouterr()
    rows = [line for line in told.out.splitlines() if re.match(r"\S.*  (error|warning)  ", line)]
    assert [re.split("  +", row)[:2] for row in rows] == [
        ["text", "error"],
        ["features", "error"],
        ["features", "error"],
        ["pdfs", "error"],
        ["alignment keys", "warning"],
    ]
    assert "data: 0 of 4 utterances" in told.out
    assert "not fit to train on: 4 faults, the first: " in told.err and "(line 1: a-1)" in told.err


def write_stats(place, stats):
    write_matrices(place / "data", "cmvn", {"a": stats, "b": np.ones((2, 4))})


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (lambda p: (p / "data/cmvn.scp").unlink(), "does not exist"),
        (lambda p: write_matrices(p / "data", "cmvn", {"a": np.ones((2, 4))}), r"utt2spk missing \(b\)"),
        (lambda p: write_stats(p, np.ones((2, 5))), r"1 speaker with .*dimension 3.* \(a\)"),
        (lambda p: write_stats(p, np.zeros((2, 4))), r"1 speaker with .*0 frames.* \(a\)"),
        (lambda p: write_stats(p, np.full((2, 4), np.nan)), r"1 speaker with .* \(a\)"),
        (lambda p: (p / "data/cmvn.ark").unlink(), r"2 speakers that cannot be read.* \(a, b\)"),
    ],
)
def test_statistics_are_an_error_only_where_they_are_required(place, plant, message):
    plant(place)
    for options, level in ((None, WARNING), (REQUIRED, ERROR)):
        report = report_of(place, options)
        assert any(c == "cmvn.scp" and re.search(message, text) for c, text in found(report, level))


def test_a_command_that_dies_is_no_fault_of_the_next_utterance(place):
    path = place / "data/feats.scp"
    _, _, *lines = path.read_text().splitlines()
    (place / "a  2.mat").write_text("[ 1 2 3 ]\n")
    entries = ["a-1 head -c 40 /dev/zero; exit 1 |", f"a-2 cat '{place}/a  2.mat' |"]
    path.write_text("\n".join([*entries, *lines]) + "\n")
    faults = [text for check, text in found(report_of(place), ERROR) if check == "features"]
    assert len(faults) == 1 and "1 utterance that cannot be read" in faults[0] and "(a-1)" in faults[0]


def test_lengths_differ_by_how_much(place):
    assert LENGTH_TOLERANCE == TRAINING_TOLERANCE
    write_ali(place, a_1=labels(19), a_2=labels(24), b_1=labels(25))
    report = report_of(place, CheckOptions(max_dropped=0.3))
    cut, dropped = (text for check, text in found(report) if check == "lengths")
    assert "2 utterances cut" in cut and "(a-1: 20 frames, 19 labels, a-2: 20 frames, 24 labels)" in cut
    assert "1 utterance dropped" in dropped and "(b-1: 20 frames, 25 labels)" in dropped
    assert "labels: 0: 1, 1: 1, 4: 1, 5: 1" in dropped
    assert report.frames_used == 19 + 20 + 20
    report.finish()


def test_many_differences_are_a_line_that_can_be_read(tmp_path, capsys):
    matrices = {f"a-{number:03d}": np.ones((20, 3), np.float32) for number in range(300)}
    write_data_dir(tmp_path / "data", matrices)
    ids = {utt: labels(10 + number) for number, utt in enumerate(matrices)}
    write_ali_dir(tmp_path / "ali", two_phone_model(), ids)
    assert main(["check", "--no-text", str(tmp_path / "data"), str(tmp_path / "ali")]) == 1
    told = capsys.readouterr()
    assert ", 9: 2, more: 281" in told.out
    assert max(map(len, (told.out + told.err).splitlines())) < 800


def test_each_side_may_lack_utterances_and_each_loss_has_its_reason(place, capsys):
    write_ali(place, a_1=None, b_1=labels(30), c_1=labels())
    lines = (place / "data/feats.scp").read_text().splitlines()
    (place / "data/feats.scp").write_text("\n".join(lines[:3]) + "\n")
    (place / "data/frame_shift").write_text("0.36\n")
    arguments = [str(place / "data"), str(place / "ali")]
    assert main(["check", *arguments]) == 1
    told = capsys.readouterr()
    assert "3 of 4 utterances were dropped, over the limit of 5 %" in told.err
    assert re.search(r"alignment keys +warning .*1 utterance of .* without an alignment \(a-1\)", told.out)
    assert re.search(r"alignment keys +warning .*2 aligned utterances not in .* \(b-2, c-1\)", told.out)
    summary = told.out.split("\n\n")[1].splitlines()
    assert summary == [
        f"{place}/data: 1 of 4 utterances, 0.002 of 0.008 hours, would be used; 3 (75.00 %), 0.006 hours, "
        "would be lost",
        f"  1 utterance, 0.002 hours: no alignment in {place}/ali (a-1)",
        "  1 utterance, 0.002 hours: 5 frames or more between features and alignment (b-1)",
        f"  1 utterance, 0.002 hours: no features in {place}/data/feats.scp (b-2)",
    ]
    assert main(["check", "--max-dropped=0.75", "--frame-shift=0.9", *arguments]) == 0
    assert "0.005 of 0.020 hours" in capsys.readouterr().out


def test_another_directory_must_have_the_same_pdfs(place, capsys):
    arguments = ["check", str(place / "data"), str(place / "ali"), str(place / "other")]

    def told_of(model, tree=None):
        write_ali_dir(place / "other", model, {"a-1": labels()})
        if tree is not None:
            for directory, text in (("ali", False), ("other", True)):
                save_tree(place / directory / "tree", tree if text else right, binary=not text)
        status = main(arguments)
        return status, capsys.readouterr().out

    right = monophone_tree([[1], [2]], two_phone_model().topology)
    # As text and as binary it is the same tree.
    assert told_of(two_phone_model(), right)[0] == 0
    status, out = told_of(long_phone_model())
    assert status == 1 and re.search(r"other/final\.mdl: the pdfs are of other phones", out)
    topology = two_phone_model().topology
    swapped = TransitionModel(topology, initial_tuples(topology, {(1, 0): 0, (2, 0): 2, (2, 1): 1}))
    status, out = told_of(swapped, monophone_tree([[2], [1]], topology))
    assert status == 1 and "the pdfs are of other phones" in out and "other/tree: another tree than" in out
    fewer = TransitionModel(topology, initial_tuples(topology, {(1, 0): 0, (2, 0): 1, (2, 1): 1}))
    status, out = told_of(fewer)
    assert status == 1 and re.search(r"other/final\.mdl: 2 pdfs, .*ali/final\.mdl has 3", out)
    # The directory of a graph's model has no alignments.
    write_ali_dir(place / "other", two_phone_model(), {})
    for name in ("num_jobs", "ali.1.gz"):
        (place / "other" / name).unlink()
    (place / "other/phones.txt").write_text("<eps> 0\nSIL 1\nC 2\n")
    (place / "other/tree").unlink()
    assert main(arguments) == 1
    assert "other/phones.txt: other phones" in capsys.readouterr().out


def test_archives_and_lists_may_disagree_on_lengths(place):
    path = place / "data/utt2num_frames"
    path.write_text(path.read_text().replace("b-1 20", "b-1 21"))
    assert "(b-1: 21, not 20)" in str(found(report_of(place), WARNING))


def test_features_need_not_be_read_or_be_there(place):
    write_feats(place, a_2=nan(np.nan))
    (place / "data/utt2num_frames").write_text("a-1 20\na-2 20\nb-1 27\nb-2 20\n")
    report = report_of(place, CheckOptions(read_feats=False))
    assert [check for check, _ in found(report)] == ["lengths"] and report.tally.num_done == 3
    (place / "data/feats.scp").unlink()
    report = report_of(place, CheckOptions(DataCheckOptions(no_feats=True)))
    assert found(report, ERROR) == [] and report.tally.num_done == 4


def test_of_many_utterances_a_few_are_told_and_all_listed(tmp_path, capsys):
    data = tmp_path / "data"
    matrices = {f"a-{number:02d}": np.full((20, 3), np.nan, np.float32) for number in range(30)}
    write_data_dir(data, matrices)
    assert main(["check", "--no-text", "--cmvn=optional", f"--list={tmp_path}/all", str(data)]) == 1
    told = capsys.readouterr()
    assert f"not a number (a-00, a-01, a-02, a-03, a-04, ... all in {tmp_path}/all) - " in told.out
    assert (
        f"features that cannot be used (a-00, a-01, a-02, a-03, a-04, ... all in {tmp_path}/all)" in told.out
    )
    assert max(map(len, (told.out + told.err).splitlines())) < 700
    rows = [line.split("\t") for line in (tmp_path / "all").read_text().splitlines()]
    assert [row[2] for row in rows if row[:2] == ["features", "error"]] == list(matrices)
    assert [row[2] for row in rows if row[0] == "lost"] == list(matrices)
    assert main(["check", "--no-text", "--cmvn=optional", str(data)]) == 1
    assert "a-04, ... all in FILE with --list=FILE)" in capsys.readouterr().out


def test_data_alone_and_strictly(place, capsys):
    assert main(["check", "--strict", str(place / "data")]) == 0
    assert "alignment" not in capsys.readouterr().out
    (place / "data/utt2lang").write_text("a-1 en\n")
    assert main(["check", str(place / "data")]) == 0
    assert main(["check", "--strict", str(place / "data")]) == 1
    assert main(["check", str(place / "nowhere")]) == 1


def test_kaldis_own_directories(kaldi_fixtures, monkeypatch, capsys):
    monkeypatch.chdir(kaldi_fixtures)
    arguments = ["check", "--lang=lang", "--no-wav"]
    assert main([*arguments, "--strict", "data/train", "exp/tri2b_ali", "exp/tri2b"]) == 0
    out = capsys.readouterr().out
    assert "1200 of 1200 utterances, 1.330 of 1.330 hours" in out and "largest 623 of 624" in out
    assert "labels: 0: 1200\n" in out
    assert main([*arguments, "data/dev", "exp/tri2b_ali_dev", "exp/tri2b_ali"]) == 0
    out = capsys.readouterr().out
    assert "197 of 200 utterances" in out
    lost = "2244-022440144, 9613-096130005, 9613-096130018"
    assert f"no alignment in exp/tri2b_ali_dev ({lost})" in out
    assert main([*arguments, "data/dev", "exp/tri2b_ali"]) == 1


def test_nothing_slow_is_imported():
    code = "import sys, dkt.bin.check, dkt.validate.check\n"
    code += "print([m for m in ('torch', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
