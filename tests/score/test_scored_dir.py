"""A scored decode directory read back, as Kaldi's ``steps/scoring/score_kaldi_wer.sh`` leaves it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dkt.score.scored_dir import BestWer, UnitCounts, parse_best_wer, read_scoring
from tests.score.test_wer_details import PER_SPK, PER_UTT, TEXT


def write_kaldis(decode: Path) -> Path:
    """What Kaldi's scripts print; gives the directory of the details."""
    details = decode / "scoring_kaldi/wer_details"
    details.mkdir(parents=True)
    line = "%WER 55.56 [ 5 / 9, 2 ins, 1 del, 2 sub ] [PARTIAL] exp/x/decode/wer_9_0.0\n"
    (details.parent / "best_wer").write_text(line)
    (details.parent / "test_filt.txt").write_text(TEXT)
    (details / "per_utt").write_text(PER_UTT.replace("$", ""))
    (details / "per_spk").write_text(PER_SPK)
    return details


def test_everything_is_read(tmp_path: Path) -> None:
    write_kaldis(tmp_path)
    scored = read_scoring(tmp_path)
    assert scored is not None and scored.best == BestWer(55.56, 5, 9, 2, 1, 2, partial=True)
    assert scored.references is not None and scored.references["cy-3"] == ("lost",)
    assert scored.alignments is not None and "cy-3" not in scored.alignments
    assert scored.alignments["bob-1"] == [("yes", "yes"), ("***", "oh"), ("yes", "yes"), ("no", "no")]
    assert scored.utterances() == {
        "ann-1": UnitCounts(4, 2), "ann-2": UnitCounts(0, 0), "bob-1": UnitCounts(3, 1),
        "cy-1": UnitCounts(0, 1), "cy-2": UnitCounts(2, 1),
    }  # fmt: skip
    assert scored.speakers == {
        "a-speaker-with-a-long-name": UnitCounts(3, 1), "ann": UnitCounts(4, 2), "cy": UnitCounts(2, 1),
        "dee": UnitCounts(0, 1),
    }  # fmt: skip


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_scoring(tmp_path) is None
    details = write_kaldis(tmp_path)
    for name in ("per_utt", "per_spk", "../test_filt.txt"):
        (details / name).unlink()
    scored = read_scoring(tmp_path)
    assert scored is not None and scored.utterances() is None
    assert (scored.references, scored.alignments, scored.speakers) == (None, None, None)


def test_a_speaker_may_be_called_as_the_sum(tmp_path: Path) -> None:
    details = write_kaldis(tmp_path)
    (details / "per_spk").write_text(PER_SPK.replace("cy  ", "SUM "))
    scored = read_scoring(tmp_path)
    assert scored is not None and scored.speakers is not None and scored.speakers["SUM"] == UnitCounts(2, 1)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("%WER 5.00 [ 1 / 20, 0 ins, 1 del, 0 sub ] exp/wer_7_0.0", BestWer(5.0, 1, 20, 0, 1, 0)),
        ("%WER inf [ 3 / 0, 3 ins, 0 del, 0 sub ]", BestWer(float("inf"), 3, 0, 3, 0, 0)),
        ("%WER 5.00 [ 1 / 20, ...", BestWer(5.0, 1, 20)),
        ("%SER 5.00 [ 1 / 20 ]", None),
    ],
)
def test_lines_of_word_error_rates(line: str, found: BestWer | None) -> None:
    assert parse_best_wer(line) == found
