"""The files behind a word error rate; what is expected was printed by Kaldi's ``utils/scoring/*.pl``."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from dkt.bin import main
from dkt.score.compute_wer import WerStats
from dkt.score.wer_details import (
    align_words,
    bootstrap_line,
    operation,
    ops_lines,
    per_spk_lines,
    per_utt_lines,
)
from tests.shell import fails, succeed

TEXT = """\
ann-1 the straße is long
ann-2
bob-1 yes yes no
cy-1
cy-2 no uncharacteristically
cy-3 lost
"""
HYPOTHESES = """\
ann-1 the strasse long long
ann-2
bob-1 yes oh yes no
cy-1 no
cy-2 no
"""
UTT2SPK = """\
ann-1 ann
ann-2 ann
bob-1 a-speaker-with-a-long-name
cy-1 dee
cy-2 cy
cy-3 cy
"""
# A $ is the end of a line in blanks.
PER_UTT = """\
ann-1 ref  the   straße   is   long
ann-1 hyp  the  strasse  long  long
ann-1 op    C      S       S     C $
ann-1 #csid 2 2 0 0
ann-2 ref  $
ann-2 hyp  $
ann-2 op   $
ann-2 #csid 0 0 0 0
bob-1 ref  yes  ***  yes  no
bob-1 hyp  yes   oh  yes  no
bob-1 op    C    I    C    C
bob-1 #csid 3 0 1 0
cy-1 ref  ***
cy-1 hyp   no
cy-1 op    I $
cy-1 #csid 0 0 1 0
cy-2 ref  no  uncharacteristically
cy-2 hyp  no           ***        $
cy-2 op    C            D         $
cy-2 #csid 1 0 0 1
"""
PER_SPK = """\
SPEAKER                    id       #SENT      #WORD       Corr        Sub        Ins        Del        Err      S.Err
a-speaker-with-a-long-name raw          1          3          3          0          1          0          1          1
a-speaker-with-a-long-name sys          1          3     100.00       0.00      33.33       0.00      33.33     100.00
ann                        raw          2          4          2          2          0          0          2          1
ann                        sys          2          4      50.00      50.00       0.00       0.00      50.00      50.00
cy                         raw          1          2          1          0          0          1          1          1
cy                         sys          1          2      50.00       0.00       0.00      50.00      50.00     100.00
dee                        raw          1          0          0          0          1          0          1          1
SUM                        raw          5          9          6          2          2          1          5          4
SUM                        sys          5          9      66.67      22.22      22.22      11.11      55.56      80.00
"""  # noqa: E501
OPS = """\
correct                     no                  no    2
correct                    yes                 yes    2
correct                   long                long    1
correct                    the                 the    1
deletion      uncharacteristically                 ***    1
insertion                  ***                  no    1
insertion                  ***                  oh    1
substitution                is                long    1
substitution            straße             strasse    1
"""


def random_words(rng: random.Random, words: str = "abc") -> list[str]:
    return rng.choices(words, k=rng.randint(0, 8))


def test_alignments_split_errors_as_the_error_rate_does() -> None:
    rng = random.Random(0)
    for _ in range(500):
        ref, hyp = random_words(rng), random_words(rng)
        pairs = align_words(ref, hyp)
        assert [word for word, _ in pairs if word != "***"] == ref
        assert [word for _, word in pairs if word != "***"] == hyp
        stats = WerStats()
        stats.add(ref, hyp)
        operations = "".join(operation(*pair) for pair in pairs)
        counts = (stats.num_ins, stats.num_del, stats.num_sub)
        assert tuple(map(operations.count, "IDS")) == counts


@pytest.mark.parametrize(
    ("ref", "hyp", "operations"),
    [
        ("a", "a a", "CI"),  # the last word is the inserted one, not the first
        ("a a", "a", "CD"),
        ("a b c", "x a c", "ICDC"),  # not SSC, with as many errors
        ("a b", "c", "SD"),
        ("a", "b c", "SI"),
    ],
)
def test_ties_go_to_insertion_then_deletion_from_the_end(ref: str, hyp: str, operations: str) -> None:
    assert "".join(operation(*pair) for pair in align_words(ref.split(), hyp.split())) == operations


def test_operations_are_sorted_as_in_the_c_locale() -> None:
    pairs = [("b", "***"), ("a", "***"), *[("z", "***")] * 10, ("日本", "***"), ("é", "***"), ("B", "x")]
    # Bytes beyond ASCII do not count at first; lines that are then alike are in the order of their bytes.
    assert ops_lines({"u": pairs}) == [
        "deletion        z    ***    10",
        "deletion        é    ***     1",
        "deletion       日本    ***     1",
        "deletion        a    ***     1",
        "deletion        b    ***     1",
        "substitution    B      x     1",
    ]
    assert ops_lines({"u": []}) == []


def test_no_words_at_all() -> None:
    table = per_spk_lines({"u": [("***", "x")]}, {"u": "s"})
    assert [line.split()[:4] for line in table[1:]] == [["s", "raw", "1", "0"], ["SUM", "raw", "1", "0"]]
    assert per_utt_lines({}) == []


def test_confidence_interval() -> None:
    refs = [["a"]] * 400
    hyps = [["b"]] * 100 + [["a"]] * 300
    line = bootstrap_line(refs, hyps)
    assert line == bootstrap_line(refs, hyps)
    before, _, after = line.partition(" 95% Conf Interval [ ")
    low, high = map(float, after.removesuffix(" ]").split(", "))
    assert float(before.removeprefix("Set1: %WER ")) == pytest.approx(25, abs=0.1)
    # A fourth of 400 independent words: 1.96 sqrt(0.25 * 0.75 / 400) to either side.
    assert (high - low) / 2 == pytest.approx(4.24, abs=0.15) and (high + low) / 2 == pytest.approx(
        25, abs=0.1
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A data directory and the texts of a scan of it, by two jobs at two points."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/text").write_text(TEXT)
    (tmp_path / "data/utt2spk").write_text(UTT2SPK)
    lines = HYPOTHESES.splitlines(keepends=True)
    for job, part in ((1, lines[3:]), (2, lines[:3])):
        directory = tmp_path / f"decode/scoring/job.{job}"
        directory.mkdir(parents=True)
        (directory / "8_0.5.txt").write_text("".join(part))
        (directory / "9_0.5.txt").write_text("".join(f"{line.split()[0]} wrong\n" for line in part))
    (tmp_path / "decode/num_jobs").write_text("2\n")
    return tmp_path


def test_what_scoring_leaves(place: Path) -> None:
    succeed(place, "steps/score.sh", "data", "graph", "decode")
    kaldi = place / "decode/scoring_kaldi"
    assert "[ 5 / 9, 2 ins, 1 del, 2 sub ] [PARTIAL] decode/wer_8_0.5" in (kaldi / "best_wer").read_text()
    assert (kaldi / "test_filt.txt").read_text() == TEXT
    assert (kaldi / "penalty_0.5/8.txt").read_text() == HYPOTHESES
    assert "ann-1 wrong\n" in (kaldi / "penalty_0.5/9.txt").read_text()
    assert sorted(path.name for path in (place / "decode/scoring").iterdir()) == ["job.1", "job.2"]
    details = {path.name: path.read_text() for path in (kaldi / "wer_details").iterdir()}
    assert details.pop("wer_bootci").startswith("Set1: %WER ")
    assert details == {
        "lmwt": "8\n",
        "wip": "0.5\n",
        "per_utt": PER_UTT.replace("$", ""),
        "per_spk": PER_SPK,
        "ops": OPS,
    }
    # Once more from the second stage, whose texts have moved, and without speakers.
    (place / "data/utt2spk").unlink()
    output = succeed(place, "steps/score.sh", "--stage", "1", "data", "graph", "decode")
    assert "data/utt2spk is not there, so there is no table of speakers" in output
    assert not (kaldi / "wer_details/per_spk").exists()
    assert (kaldi / "wer_details/per_utt").read_text() == PER_UTT.replace("$", "")


def contents(directory: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in sorted(directory.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT.replace("ann-2", "other-2 x\nann-2"), "has no speaker"),
        (TEXT.replace("ann-1 ", "ann-1 *** "), "'***' stands for no word"),
        ("x a b\n", "log/score.1.log"),
    ],
)
def test_scores_stay_until_there_are_others(place: Path, text: str, message: str) -> None:
    succeed(place, "steps/score.sh", "data", "graph", "decode")
    before = contents(place / "decode/scoring_kaldi"), [p.name for p in (place / "decode").glob("wer_*")]
    assert len(before[1]) == 2
    (place / "data/text").write_text(text)
    for file in (place / "decode/scoring").rglob("*.txt"):
        file.write_text(file.read_text() + "other-2 x\n" * (file.parent.name == "job.1"))
    assert message in fails(place, "steps/score.sh", "data", "graph", "decode")
    after = contents(place / "decode/scoring_kaldi"), [p.name for p in (place / "decode").glob("wer_*")]
    assert after == before
    (place / "data/text").write_text(TEXT)
    output = succeed(place, "steps/score.sh", "data", "graph", "decode")
    assert ".new_scores" not in output and not (place / "decode/.new_scores").exists()
    assert "decode/wer_8_0.5" in (place / "decode/scoring_kaldi/best_wer").read_text()


@pytest.fixture
def scored(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    Path("decode/wer_8_0.5").write_text("%WER 55.56 [ 5 / 9, 2 ins, 1 del, 2 sub ]\n")
    Path("decode/scoring/8_0.5.txt").write_text(HYPOTHESES)
    return place


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("data/text", None, "data/text: cannot be read"),
        ("data/text", "ann-1 a *** b\n", "data/text: utterance 'ann-1': '***' stands for no word"),
        ("decode/scoring/8_0.5.txt", None, "decode/scoring_kaldi/penalty_0.5/8.txt: cannot be read"),
        ("decode/scoring/8_0.5.txt", "ann-1 ***\n", "penalty_0.5/8.txt: utterance 'ann-1': '***' stands"),
        ("decode/scoring/8_0.5.txt", "x a\n", "has a hypothesis for none of the 6 utterances of data/text"),
        ("data/utt2spk", "ann-1 ann\n", "data/utt2spk: utterance 'ann-2': has no speaker"),
        ("data/utt2spk", "ann-1 a b\n", "data/utt2spk: utterance 'ann-1': expected '<utterance> <speaker>'"),
        (
            "decode/scoring_kaldi/penalty_0.5",
            "",
            "8_0.5.txt: cannot be moved to decode/scoring_kaldi/penalty",
        ),
    ],
)
def test_faults(
    scored: Path, capsys: pytest.CaptureFixture[str], file: str, content: str | None, message: str
) -> None:
    if content is None:
        Path(file).unlink()
    else:
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_text(content)
    assert main(["best-wer", "--write", "--data=data", "decode"]) == 1
    assert message in capsys.readouterr().err


def test_details_need_a_penalty_and_leave_to_write(scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["best-wer", "--data=data", "decode"]) == 1
    assert "give --write, too" in capsys.readouterr().err
    Path("decode/wer_8_0.5").rename("decode/wer_8")
    assert main(["best-wer", "--write", "--data=data", "decode"]) == 1
    assert "decode/wer_8: has no details: its name tells no word insertion penalty" in capsys.readouterr().err
