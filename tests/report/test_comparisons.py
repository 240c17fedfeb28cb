"""Comparisons of scored experiments: which units, which seeds, and what cannot be compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dkt.base.errors import DktError
from dkt.report.comparisons import Comparison, compare_all, evaluate
from dkt.report.systems import choose_references, load_systems, named_directories
from tests.report_lab import REFERENCES, score_into, write_curve, write_test_set


class Lab:
    """Experiments below a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = write_test_set(path / "data")
        self.arguments: list[str] = []
        self.notes: list[str] = []

    def run(
        self, name: str, changes: dict[str, str | None], seed: int | None = None, data: Path | None = None
    ) -> Path:
        """One run of a system, whose errors on test are ``changes``."""
        directory = self.path / f"{name}_{len(self.arguments)}"
        if seed is not None:
            write_curve(directory, 50.0, seed)
        score_into(directory / "decode_test", data or self.data, changes)
        self.arguments.append(f"{name}={directory}")
        return directory

    def compare(self, *references: str) -> list[Comparison]:
        systems = load_systems(named_directories(self.arguments), self.notes)
        evaluation = evaluate("test", systems, self.notes, 2000)
        return compare_all(
            [evaluation] if evaluation else [], systems, choose_references(systems, references), self.notes
        )


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


ANN = {"ann-0": "ONE ONE"}
ALL = {"ann-0": "ONE ONE", "bob-0": "ONE", "cy-1": "ONE ONE THREE"}


@pytest.mark.parametrize("seeds", [[None], [1, 2, 3]])
def test_a_system_does_not_differ_from_itself(lab, seeds):
    for seed in seeds:
        directory = lab.run("dnn", ALL if seed != 2 else ANN, seed)
        lab.arguments.append(f"copy={directory}")
    (found,) = lab.compare("dnn")
    assert (found.difference, found.low, found.high, found.p, found.p_holm) == (0.0, 0.0, 0.0, 1.0, 1.0)


def test_difference_and_p_over_three_speakers(lab):
    """One error of each speaker, of four words: 25 % of each, so that only the signs are left to chance."""
    lab.run("dnn", {})
    lab.run("lstm", ALL)
    (found,) = lab.compare("dnn")
    assert (found.system, found.reference, found.difference) == ("lstm", "dnn", 25.0)
    assert (found.low, found.high) == (25.0, 25.0)
    assert found.p == pytest.approx(2 / 8)
    assert "no p can be below 0.25" in " ".join(lab.notes)


def test_one_family_in_which_two_references_are_compared_once(lab):
    for name, changes in (("dnn", {}), ("lstm-hard", ALL), ("lstm-soft", ANN)):
        lab.run(name, changes)
    found = {(c.system, c.reference): c for c in lab.compare()}
    assert set(found) == {
        ("dnn", "lstm-hard"), ("lstm-hard", "dnn"), ("lstm-soft", "dnn"), ("lstm-soft", "lstm-hard"),
    }  # fmt: skip
    there, back = found["dnn", "lstm-hard"], found["lstm-hard", "dnn"]
    assert (there.difference, there.low, there.p_holm) == (-back.difference, -back.high, back.p_holm)
    # p 0.25, 0.5 and 1: three comparisons.
    assert back.p_holm == pytest.approx(0.75)
    assert found["lstm-soft", "lstm-hard"].p_holm == pytest.approx(1.0)


def test_seeds_that_both_have_are_paired(lab):
    """The third seed of one system, which makes many errors, does not count: the other has none of it."""
    for seed in (1, 2):
        lab.run("dnn", {}, seed)
        lab.run("lstm", ANN, seed)
    lab.run("lstm", ALL, 3)
    (found,) = lab.compare("dnn")
    assert found.num_seeds == 2 and found.difference == pytest.approx(100 / 12)
    assert "test: lstm has 3 and dnn 2 runs, of 2 seeds in common" in " ".join(lab.notes)
    systems = load_systems(named_directories(lab.arguments), [])
    evaluation = evaluate("test", systems, [], 2000)
    low, high = evaluation.interval(systems[1].runs)
    assert 0.0 <= low < high


def test_a_note_tells_that_the_means_are_of_other_seeds(lab):
    """By its mean the LSTM is worse; by the seed that both have it is better."""
    for name, seed, changes in (("dnn", 1, ALL), ("dnn", 2, {}), ("lstm", 1, ANN), ("lstm", 3, ALL | ANN)):
        lab.run(name, changes, seed)
    (found,) = lab.compare("dnn")
    assert found.num_seeds == 1 and found.difference < 0
    (note,) = [note for note in lab.notes if "in common" in note]
    assert "of 1 seed in common" in note and note.endswith("p tells nothing of other trainings")


def test_no_note_where_all_seeds_are_common_or_none_is(lab):
    for name, seed in (("dnn", 1), ("dnn", 2), ("lstm", 1), ("lstm", 2), ("gmm", 3)):
        lab.run(name, ANN if name == "lstm" else {}, seed)
    lab.compare("dnn")
    assert not [note for note in lab.notes if "in common" in note]


def test_a_gain_of_one_seed_alone_is_no_gain(lab):
    """Over speakers all signs agree; over seeds they do not."""
    words = {utt: f"{text[0]} WRONG" for utt, text in REFERENCES.items()}
    for seed, changes in ((1, words), (2, {})):
        lab.run("dnn", changes, seed)
        lab.run("lstm", {}, seed)
    (found,) = lab.compare("dnn")
    assert (
        found.difference == pytest.approx(-25.0) and found.low == pytest.approx(-50.0) and found.high == 0.0
    )
    # Half of the draws are of the seed without a difference.
    assert found.p == pytest.approx(1.0, abs=0.05)


def test_systems_without_common_seeds_are_compared_by_their_means(lab):
    lab.run("gmm", ALL)
    for seed in (1, 2):
        lab.run("dnn", {}, seed)
    (found,) = lab.compare("dnn")
    assert (found.num_seeds, found.difference, found.p) == (0, 25.0, pytest.approx(0.25))


def test_directories_that_no_seed_tells_apart_are_told_of(lab):
    for _ in range(2):
        lab.run("dnn", ANN, 7)
    assert lab.compare() == [] and "seeds do not tell its 2 directories apart" in " ".join(lab.notes)


def test_one_speaker_means_utterances(lab):
    (lab.data / "utt2spk").write_text("".join(f"{utt} ann\n" for utt in REFERENCES))
    lab.run("dnn", {})
    lab.run("lstm", dict.fromkeys(REFERENCES, "ONE"))
    (found,) = lab.compare("dnn")
    assert found.p == pytest.approx(2 / 2**6)
    assert "test: one speaker: intervals and p are over utterances" in lab.notes[-1]


def test_without_utt2spk_utterances_are_resampled(lab):
    (lab.data / "utt2spk").unlink()
    lab.run("dnn", {})
    lab.run("lstm", dict.fromkeys(REFERENCES, "ONE"))
    assert lab.compare("dnn")[0].p == pytest.approx(2 / 2**6)
    assert "speakers are not known (no per_spk)" in lab.notes[-1]


def test_other_test_sets_are_refused_by_the_first_utterance_that_differs(lab):
    lab.run("dnn", {})
    fewer = {utt: words for utt, words in REFERENCES.items() if utt not in ("bob-1", "cy-0")}
    other = write_test_set(lab.path / "other", fewer)
    directory = lab.path / "fewer"
    score_into(directory / "decode_test", other, references=fewer)
    lab.arguments.append(f"fewer={directory}")
    with pytest.raises(
        DktError, match=r"dnn_0/decode_test: utterance 'bob-1': is scored here, but not in \S+fewer/"
    ):
        lab.compare("dnn")


def test_other_references_are_refused(lab):
    lab.run("dnn", {})
    changed = REFERENCES | {"cy-1": ["ONE", "FOUR"]}
    directory = lab.path / "changed"
    score_into(directory / "decode_test", write_test_set(lab.path / "other", changed), references=changed)
    lab.arguments.append(f"lstm={directory}")
    with pytest.raises(
        DktError, match="changed/decode_test: utterance 'cy-1': the reference is 'ONE FOUR', but 'ONE THREE'"
    ):
        lab.compare("dnn")


def test_other_speakers_are_refused(lab):
    lab.run("dnn", {})
    other = write_test_set(lab.path / "other")
    (other / "utt2spk").write_text((other / "utt2spk").read_text().replace("bob-1 bob", "bob-1 ann"))
    lab.run("lstm", {}, data=other)
    with pytest.raises(
        DktError, match="lstm_1/decode_test: speaker 'ann' has 6 words of the references, but 4 words"
    ):
        lab.compare("dnn")


def test_a_missing_hypothesis_leaves_out_the_run_and_not_the_report(lab):
    lab.run("dnn", {})
    lab.run("lstm", {"bob-0": None})
    lab.run("blstm", ANN)
    assert [c.system for c in lab.compare("dnn")] == ["blstm"]
    assert (
        "lstm_1/decode_test: 1 utterances have no hypothesis ('bob-0' first), which others have"
        in " ".join(lab.notes)
    )


def test_without_details_there_is_no_interval(lab):
    lab.run("dnn", {})
    shutil.rmtree(lab.run("lstm", ANN) / "decode_test/scoring_kaldi/wer_details")
    assert lab.compare("dnn") == []
    assert "no wer_details, so no interval and no comparison: " in " ".join(lab.notes)


def test_details_of_another_scoring_are_refused(lab):
    directory = lab.run("dnn", ANN) / "decode_test/scoring_kaldi"
    best = (directory / "best_wer").read_text()
    (directory / "best_wer").write_text(best.replace("[ 1 / 12", "[ 2 / 12"))
    with pytest.raises(DktError, match="per_utt: tells 1 errors in 12 words, but best_wer 2 in 12 - score"):
        lab.compare()


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "per_utt",
            "ann-0 hyp  ONE  ONE",
            "ann-0 hyp  ONE",
            "utterance 'ann-0': has no lines 'ref' and 'hyp'",
        ),
        ("per_utt", "ann-0 hyp", "ann-0 what", "line 2: expected '<utterance> ref|hyp|op|#csid ...'"),
        ("per_utt", "ann-0 op", "ann-0 ref", "utterance 'ann-0': line 3: a second line 'ref'"),
        ("per_spk", "SUM", "END", "has no line SUM at its end"),
        ("per_spk", " raw  ", " raw x", "expected 8 counts of a speaker"),
        ("per_spk", "cy ", "bob", "tells of a speaker twice"),
    ],
)
def test_damaged_details_are_named(lab, name, old, new, message):
    path = lab.run("dnn", ANN) / "decode_test/scoring_kaldi/wer_details" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DktError) as caught:
        lab.compare()
    assert name in str(caught.value) and message in str(caught.value)


def test_a_reference_that_is_none(lab):
    lab.run("dnn", {})
    with pytest.raises(DktError, match=r"--reference: no system is named 'dmn' - did you mean dnn\?"):
        lab.compare("dmn")


def test_directories_by_a_pattern_and_one_given_twice(lab):
    for seed in (1, 2):
        (lab.path / f"exp/dnn_seed{seed}").mkdir(parents=True)
    named = named_directories([f"dnn={lab.path}/exp/dnn_seed*"])
    assert [directory.name for _, directory in named] == ["dnn_seed1", "dnn_seed2"]
    # The names tell the seeds where no configuration does.
    assert load_systems(named, [])[0].seeds == [1, 2]
    with pytest.raises(DktError, match="dnn_seed1: is given twice for 'dnn'"):
        named_directories([f"dnn={lab.path}/exp/dnn_seed*", f"dnn={lab.path}/exp/dnn_seed1/"])
    with pytest.raises(DktError, match=r"dnn_\*: no directory has such a name"):
        named_directories([f"dnn={lab.path}/dnn_*"])
    for text in ("dnn", "=exp", "dnn=", "d\nn=exp"):
        with pytest.raises(DktError, match="expected system=exp-dir"):
            named_directories([text])
