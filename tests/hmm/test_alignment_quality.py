"""What of an alignment cannot be right: silence, phones that are too long or too short, second tries."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.base.findings import Level
from dkt.bin import main
from dkt.hmm.alignment_quality import AlignmentQuality, SilencePhones, judge_and_tell
from dkt.hmm.alignments import AlignmentDir
from dkt.hmm.topology import HmmState, HmmTopology
from dkt.hmm.transition_model import TransitionModel, initial_tuples
from tests.synthetic import write_ali_dir

NUM_PHONES = 6
NAMES = {1: "SIL"} | {phone: f"P{phone}" for phone in range(2, NUM_PHONES + 1)}
PHONES = SilencePhones(frozenset({1}), frozenset({1}), NAMES)


def model() -> TransitionModel:
    """Phones of three states each; phone 1 is silence."""
    states = [HmmState(i, i, [(i, 0.75), (i + 1, 0.25)]) for i in range(3)] + [HmmState()]
    topology = HmmTopology([states], dict.fromkeys(range(1, NUM_PHONES + 1), 0))
    pairs = {(p, s): 3 * (p - 1) + s for p in range(1, NUM_PHONES + 1) for s in range(3)}
    return TransitionModel(topology, initial_tuples(topology, pairs))


MODEL = model()


def path(phones: list[tuple[int, int]]) -> np.ndarray:
    """Transition-ids of phones of given lengths in frames."""
    ids = []
    for phone, length in phones:
        first = 6 * (phone - 1) + 1
        ids += [first + 1, first + 3] + [first + 4] * (length - 3) + [first + 5]
    return np.array(ids, dtype=np.int32)


def quality(utterances: list[list[tuple[int, int]]], num_retried: int | None = None) -> AlignmentQuality:
    found = AlignmentQuality(MODEL, PHONES, 0.01, num_retried)
    for number, phones in enumerate(utterances):
        found.add(f"u{number}", path(phones))
    return found


def ordinary(num_utts: int = 50) -> list[list[tuple[int, int]]]:
    """Ten phones of 30 to 300 ms between 300 ms of silence."""
    rng = np.random.default_rng(0)
    return [
        [(1, 30), *((int(rng.integers(2, 7)), int(rng.integers(3, 31))) for _ in range(10)), (1, 30)]
        for _ in range(num_utts)
    ]


def levels(found: AlignmentQuality) -> list[Level]:
    return [verdict.level for verdict in found.judge()]


def test_figures() -> None:
    found = quality([[(1, 50), (2, 40), (3, 60)], [(4, 10), (5, 40)]], num_retried=1)
    assert found.num_frames == 200 and found.silence_share == 0.25
    assert found.describe() == (
        "25.0 % of the frames are silence, 25.0 % of the phones last over 0.5 s "
        "(the longest 0.60 s, 'P3' in u0), 1 of 2 utterances (50.0 %) needed the second try"
    )


def test_ordinary_speech_is_let_pass() -> None:
    assert quality(ordinary(), num_retried=5).judge() == []


def test_phones_that_took_the_pauses_are_warned_of() -> None:
    # As a flat start failed: a letter over half a second in 274 of 494 utterances, one of 3.4 s.
    utterances = ordinary(494)
    for number in range(274):
        utterances[number][5] = (3, 60 + number % 30)
    utterances[7][5] = (4, 340)
    (verdict,) = quality(utterances).judge()
    assert verdict.level is Level.WARNING
    assert (
        "5.5 % of the phones last over 0.5 s, in 274 of 494 utterances, the longest 3.40 s ('P4' in u7)"
        in str(verdict)
    )
    assert "cut long pauses" in verdict.hint


def test_a_few_very_long_phones_are_warned_of() -> None:
    utterances = ordinary(300)
    for number in range(3):
        utterances[number][5] = (3, 250)
    assert levels(quality(utterances)) == [Level.WARNING]
    utterances[0][5] = (3, 90)
    assert levels(quality(utterances)) == []


def test_words_as_phones_last_as_long_as_words() -> None:
    rng = np.random.default_rng(1)

    def words(low: int, high: int) -> list[list[tuple[int, int]]]:
        return [[(1, 30)] + [(2 + n % 2, int(rng.integers(low, high))) for n in range(8)] for _ in range(30)]

    assert quality(words(45, 75)).judge() == []
    padded = words(45, 75)
    for phones in padded[:15]:
        phones[8] = (2, 250)
    assert levels(quality(padded)) == [Level.WARNING]
    assert levels(quality(words(100, 150))) == [Level.WARNING]
    assert levels(quality(words(400, 500))) == [Level.ERROR]


@pytest.mark.parametrize(("silence", "level"), [(200, []), (1300, [Level.WARNING]), (9000, [Level.ERROR])])
def test_silence(silence: int, level: list[Level]) -> None:
    assert levels(quality([[(1, silence), *phones] for phones in ordinary(20)])) == level


@pytest.mark.parametrize(("num_short", "level"), [(3, []), (7, [Level.WARNING]), (10, [Level.ERROR])])
def test_phones_as_short_as_can_be(num_short: int, level: list[Level]) -> None:
    phones = [(1, 30)] + [(2 + n % 5, 3 if n < num_short else 12) for n in range(10)]
    assert levels(quality([phones] * 20)) == level


@pytest.mark.parametrize(("num_retried", "level"), [(10, []), (11, [Level.WARNING]), (None, [])])
def test_second_tries(num_retried: int | None, level: list[Level]) -> None:
    assert levels(quality(ordinary(50), num_retried)) == level


def test_a_handful_of_utterances_is_not_judged() -> None:
    assert quality([[(1, 3), (2, 400)]] * 4).judge() == []


def test_what_is_absurd_stops_unless_it_is_allowed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = quality([[(1, 9000), (2, 10)]] * 9)
    with pytest.raises(
        DktError, match=r"^data: the alignment cannot be right: 99.9 % of the frames are silence - .*"
    ):
        judge_and_tell(found, "data", "1 of 9 words are out of vocabulary")
    assert "alignment: data: 99.9 % of the frames are silence, 0.0 %" in caplog.text
    assert "1 of 9 words are out of vocabulary" in caplog.text
    judge_and_tell(found, "data", allow_implausible=True)
    assert "WARNING" in caplog.text


def test_silence_is_known_by_the_lang_directory_or_by_names(tmp_path: Path) -> None:
    (tmp_path / "phones.txt").write_text("<eps> 0\nSIL 1\nSIL_B 2\nSPN_S 3\nA_B 4\nA_E 5\n#0 6\n")
    phones = SilencePhones.of(tmp_path)
    assert phones.silence == {1, 2} and phones.others >= {1, 2, 3} and not {4, 5} & phones.others
    lang = tmp_path / "lang"
    (lang / "phones").mkdir(parents=True)
    (lang / "phones.txt").write_text("<eps> 0\nQ 1\nQ_B 2\nNOI 3\nSIL 4\n")
    (lang / "phones/optional_silence.csl").write_text("1\n")
    (lang / "phones/silence.csl").write_text("1:2:3\n")
    phones = SilencePhones.of(tmp_path, lang)
    assert phones.silence == {1, 2} and phones.others == {1, 2, 3}


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return [line for line in lines if "of the frames are silence" in line]


def test_every_directory_is_judged_by_its_own_model(
    kaldi_fixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    lang, first = str(kaldi_fixtures / "lang"), kaldi_fixtures / "exp/tri2b_ali_dev"
    assert main(["analyze-alignments", lang, str(first)]) == 0
    alone = told(caplog)
    # Those of one model are the jobs of a step.
    options = ["--num-retried=1", f"--data={kaldi_fixtures}/data/dev", lang]
    assert main(["analyze-alignments", *options, str(first)]) == 0
    (whole,) = told(caplog)
    jobs = [tmp_path / str(job) for job in (1, 2)]
    for job, place in enumerate(jobs, 1):
        shutil.copytree(first, place)
        shutil.copy(first / f"ali.{job}.gz", place / "ali.1.gz")
        (place / "num_jobs").write_text("1\n")
    assert main(["analyze-alignments", *options, *map(str, jobs)]) == 0
    assert told(caplog) == [whole]
    # One of other phones, whose model gives the same numbers other meanings.
    other = tmp_path / "ali"
    write_ali_dir(other, MODEL, {"u1": path([(1, 30), (2, 9), (1, 9)])})
    (other / "phones.txt").unlink(missing_ok=True)
    assert main(["analyze-alignments", lang, str(other), str(first)]) == 0
    assert told(caplog) == [
        f"alignment: {other}: 100.0 % of the frames are silence, 0.0 % of the phones last over 0.5 s",
        *alone,
    ]
    assert main(["analyze-alignments", "--num-retried=1", lang, str(other), str(first)]) == 1
    assert "--num-retried is of alignments by one model" in capsys.readouterr().err
    (other / "phones.txt").write_text("<eps> 0\nSIL 1\nx 2\n")
    assert main(["analyze-alignments", lang, str(first), str(other)]) == 1
    assert "ali/phones.txt: the phones are not those of" in capsys.readouterr().err


def test_kaldis_own_alignments_are_let_pass(kaldi_fixtures: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lang, data = str(kaldi_fixtures / "lang"), kaldi_fixtures / "data"
    for part, ali in (("train", "tri2b_ali"), ("dev", "tri2b_ali_dev")):
        place = kaldi_fixtures / "exp" / ali
        assert main(["analyze-alignments", f"--data={data / part}", lang, str(place)]) == 0
        found = AlignmentQuality(AlignmentDir(place).transitions, SilencePhones.of(place))
        for utt, ids in AlignmentDir(place).transition_ids():
            found.add(utt, ids)
        assert found.judge() == []
    assert "34.1 % of the frames are silence, 1.3 % of the phones last over 0.5 s" in caplog.text
    assert "0 of 7651 words (0.00 %) are out of vocabulary" in caplog.text
    assert "WARNING" not in caplog.text
