"""``dkt check``: what Kaldi's validate_data_dir.sh finds in the files of a data directory."""

from __future__ import annotations

import re

import pytest

from dkt.base.findings import Level
from dkt.validate.check import CheckOptions
from dkt.validate.data import DataCheckOptions
from tests.fit_data import found, place, report_of

__all__ = ["place"]

WARNING, ERROR = Level.WARNING, Level.ERROR


def test_nothing_is_wrong_with_a_fit_directory(place):
    report = report_of(place)
    assert found(report) == []
    assert len([row for row in report.findings.rows if row.level is Level.OK]) == 25
    assert report.tally.num_done == 4 and report.tally.num_dropped == 0


# file, what stands there, what is put in its place, how bad it is, what is told
FAULTS = [
    # Each line of itself.
    ("utt2spk", "a-1 a\n", "a-1\n", ERROR, r"1 line wrong: expected '<utterance> <speaker>' \(line 1: a-1\)"),
    ("utt2spk", "a-1 a\n", "a-1 a x\n", ERROR, r"\(line 1: a-1\)"),
    ("utt2spk", "a-1 a\n", "a-1 a\na-1 a\n", ERROR, r"1 line with a duplicate key \(line 2: a-1\)"),
    ("utt2spk", "a-1 a\n", "a-1 a\n\n", ERROR, r"1 line empty \(line 2\)"),
    ("utt2spk", None, "", ERROR, r"is empty"),
    ("spk2utt", "b b-1 b-2\n", "b\n", WARNING, r"expected '<speaker> <utterance>...' \(line 2: b\)"),
    ("spk2utt", None, "", WARNING, r"is empty"),
    ("text", "a-2 ONE", "a-2 CAF\xc9", ERROR, r"not UTF-8 \(line 2: a-2\) - convert"),
    ("text", "b-1 ONE TWO\n", "b-1 ONE TWO\r\n", ERROR, r"carriage return.*\(line 3: b-1\) - .*dos2unix"),
    ("text", "b-1 ONE TWO\n", "b-1 ONE\x0bTWO\n", ERROR, r"U\+000B \(LINE TABULATION\).*\(line 3: b-1\)"),
    ("text", "b-2 ONE TWO\n", "b-2 ONE TWO", WARNING, r"last line does not end in a newline"),
    ("text", "b-1 ONE TWO\n", "b-1\n", WARNING, r"1 transcript with an empty transcript \(b-1\)"),
    ("text", "a-2 ONE", "a-2 <s>", WARNING, r"the symbol <s>.* \(a-2\)"),
    ("text", "a-2 ONE", "a-2 </s>", WARNING, r"the symbol </s>.* \(a-2\)"),
    ("text", "a-2 ONE", "a-2 #0", WARNING, r"the symbol #0.* \(a-2\)"),
    (
        "text",
        "a-2 ONE",
        "a-2 ONE\N{NO-BREAK SPACE}X",
        ERROR,
        r"U\+00A0 \(NO-BREAK SPACE\), white.* \(line 2: a-2\)",
    ),
    (
        "text",
        "a-1 ",
        "\ufeffa-1 ",
        ERROR,
        r"1 line with a byte order mark, U\+FEFF .*\(line 1: a-1\) - remove it",
    ),
    ("utt2spk", "a-1 ", "\ufeffa-1 ", ERROR, r"1 line with a byte order mark, U\+FEFF"),
    ("utt2spk", "b-1 b", "b-1\N{IDEOGRAPHIC SPACE}b", ERROR, r"U\+3000 \(IDEOGRAPHIC SPACE\)"),
    ("wav.scp", "a_rec a", "a_rec\N{NO-BREAK SPACE}a", WARNING, r"U\+00A0 \(NO-BREAK SPACE\), white"),
    ("text", "a-2 ONE", "a-2 O\x07NE", WARNING, r"cannot be printed, U\+0007 .* \(a-2\)"),
    ("text", "a-2 ONE", "a-2 É\N{NO-BREAK SPACE}O\x07", WARNING, r"cannot be printed, U\+0007 .* \(a-2\)"),
    ("wav.scp", "a_rec a.wav", "a_rec ~/a.wav", WARNING, r"tilde.*\(line 1: a_rec\)"),
    ("wav.scp", "a_rec a.wav", "a_rec", WARNING, r"\(line 1: a_rec\)"),
    ("segments", "b_rec 9.9 10.125", "b_rec 10.125 9.9", WARNING, r"the end after the start \(line 4: b-2\)"),
    ("segments", "b_rec 9.9 10.125", "b_rec 9.9", WARNING, r"\(line 4: b-2\)"),
    ("reco2file_and_channel", "b_rec b A", "b_rec b 1", WARNING, r"A or B \(line 2: b_rec\)"),
    ("feats.scp", "a-1 ", "a-1\nx-1 ", ERROR, r"expected '<utterance> <file>' \(line 1: a-1\)"),
    ("spk2gender", "b f", "b w", WARNING, r"m or f \(line 2: b\)"),
    ("spk2warp", "b 1.1", "b 1.5", WARNING, r"\(line 2: b\)"),
    ("utt2warp", "b-1 1.0", "b-1 x", WARNING, r"\(line 3: b-1\)"),
    ("utt2dur", "b-1 0.225", "b-1 0", WARNING, r"above 0 \(line 3: b-1\)"),
    ("reco2dur", "b_rec 2.0", "b_rec -1", WARNING, r"above 0 \(line 2: b_rec\)"),
    ("utt2num_frames", "b-1 20", "b-1 20.5", WARNING, r"\(line 3: b-1\)"),
    # Order: of bytes, so that capitals come first.
    ("utt2spk", "a-2 a\nb-1 b\n", "b-1 b\na-2 a\n", WARNING, r"1 key not in C order \(a-2 after b-1\)"),
    ("utt2spk", "a-1 a\na-2 a\n", "a-1 c\na-2 a\n", WARNING, r"speakers are not in order \(a after c\)"),
    ("spk2utt", "b b", "B b", WARNING, r"not in C order \(B after a\)"),
    ("wav.scp", "b_rec", "B_rec", WARNING, r"not in C order \(B_rec after a_rec\)"),
    # One file against another.
    ("utt2spk", "b-1 b\nb-2 b\n", "b-1 a\nb-2 a\n", WARNING, r"only one speaker"),
    ("spk2utt", "a a-1 a-2\n", "a a-2\n", WARNING, r"1 utterance of utt2spk missing \(a-1 of a\)"),
    ("spk2utt", "b b-1 b-2\n", "b a-2 b-1 b-2\n", WARNING, r"1 utterance not as in utt2spk \(a-2 of b\)"),
    ("text", "b-1 ONE TWO\n", "", WARNING, r"1 utterance of utt2spk missing \(b-1\)"),
    ("text", "b-1 ONE TWO\n", "b-1 ONE\nb-11 TWO\n", WARNING, r"1 utterance not in utt2spk \(b-11\)"),
    ("feats.scp", "b-2 ", "b-3 ", WARNING, r"1 utterance of utt2spk missing \(b-2\)"),
    ("feats.scp", "b-2 ", "b-3 ", WARNING, r"1 utterance not in utt2spk \(b-3\)"),
    ("cmvn.scp", "b ", "c ", WARNING, r"1 speaker of utt2spk missing \(b\)"),
    ("cmvn.scp", "b ", "c ", WARNING, r"1 speaker not in utt2spk \(c\)"),
    ("segments", "b-2 b_rec 9.9 10.125\n", "", WARNING, r"1 utterance of utt2spk missing \(b-2\)"),
    ("wav.scp", "a_rec a.wav\n", "", WARNING, r"1 recording of segments missing \(a_rec\)"),
    ("wav.scp", "b_rec", "c_rec x.wav\nd_rec", WARNING, r"2 recordings not in segments \(c_rec, d_rec\)"),
    ("reco2file_and_channel", "a_rec a A\n", "", WARNING, r"1 recording of segments missing \(a_rec\)"),
    ("reco2dur", "b_rec", "c_rec", WARNING, r"1 recording not in segments \(c_rec\)"),
    ("spk2gender", "b f\n", "", WARNING, r"1 speaker of utt2spk missing \(b\)"),
    ("spk2warp", "b 1.1\n", "", WARNING, r"1 speaker of utt2spk missing \(b\)"),
    ("utt2warp", "b-1 1.0\n", "", WARNING, r"\(b-1\)"),
    ("utt2dur", "b-1 0.225\n", "", WARNING, r"\(b-1\)"),
    ("utt2num_frames", "b-1 20\n", "", WARNING, r"\(b-1\)"),
    ("utt2lang", "b-1 en\n", "", WARNING, r"\(b-1\)"),
    ("utt2uniq", "b-1 b-1\n", "", WARNING, r"\(b-1\)"),
    ("vad.scp", "b-1 vad.ark:4\n", "", WARNING, r"\(b-1\)"),
]


def spoil(path, old, new):
    """Put ``new`` in the place of ``old``, None for the whole file; É alone is written as Latin-1."""
    text = path.read_text()
    assert old is None or text.count(old) == 1, (old, text)
    text = new if old is None else text.replace(old, new)
    path.write_bytes(text.encode("latin-1" if "\xc9" in text and "\xa0" not in text else "utf-8"))


@pytest.mark.parametrize(("name", "old", "new", "level", "message"), FAULTS)
def test_every_fault_is_told_with_its_file_and_key(place, name, old, new, level, message):
    spoil(place / "data" / name, old, new)
    texts = [text for check, text in found(report_of(place), level) if check == name]
    assert any(re.search(rf"data/{re.escape(name)}: .*{message}", text) for text in texts), texts


@pytest.mark.parametrize(
    ("name", "level", "options"),
    [
        ("utt2spk", ERROR, {}),
        ("spk2utt", WARNING, {}),
        ("text", WARNING, {"no_text": True}),
        ("feats.scp", ERROR, {}),
        ("cmvn.scp", WARNING, {}),
    ],
)
def test_a_missing_file_is_told_unless_it_need_not_be_there(place, name, level, options):
    (place / "data" / name).unlink()
    assert any(check == name and "does not exist" in text for check, text in found(report_of(place), level))
    if options:
        relaxed = CheckOptions(DataCheckOptions(**options))
        assert found(report_of(place, relaxed)) == []


def test_recordings_may_be_missing_only_where_no_segments_need_them(place):
    (place / "data/wav.scp").unlink()
    relaxed = CheckOptions(DataCheckOptions(no_wav=True))
    assert [check for check, _ in found(report_of(place, relaxed))] == ["wav.scp"]
    for name in ("segments", "reco2file_and_channel", "reco2dur"):
        (place / "data" / name).unlink()
    assert [check for check, _ in found(report_of(place))] == ["wav.scp"]
    assert found(report_of(place, relaxed)) == []


def test_without_segments_recordings_are_utterances(place):
    (place / "data/segments").unlink()
    faults = found(report_of(place))
    assert {check for check, _ in faults} == {"wav.scp", "reco2file_and_channel", "reco2dur"}
    assert "4 utterances" not in str(
        faults
    ) and "4 recordings of utt2spk missing (a-1, a-2, b-1, b-2)" in str(faults)


@pytest.mark.parametrize(
    ("name", "old", "new", "options"),
    [
        ("utt2spk", "a-1 a\na-2 a\n", "a-1 c\na-2 c\n", {"no_spk_sort": True}),
        ("text", "a-2 ONE", "a-2 O\x07NE", {"non_print": True}),
    ],
)
def test_what_kaldis_options_let_pass(place, name, old, new, options):
    spoil(place / "data" / name, old, new)
    told = {text for _, text in found(report_of(place))}
    relaxed = {text for _, text in found(report_of(place, CheckOptions(DataCheckOptions(**options))))}
    assert len(told - relaxed) == 1 and relaxed < told


def test_features_without_a_speaker_cannot_be_normalised(place):
    spk2utt, path = place / "data/spk2utt", place / "data/utt2spk"
    for file in (spk2utt, path):
        file.write_text(file.read_text().replace(" b-2", "").replace("b-2 b\n", ""))
    for options, level in ((None, WARNING), (CheckOptions(DataCheckOptions(cmvn=ERROR)), ERROR)):
        assert "feats.scp: 1 utterance not in utt2spk (b-2)" in str(found(report_of(place, options), level))


def test_what_cannot_be_read_does_not_hide_the_rest(place):
    data = place / "data"
    spoil(data / "text", "a-2 ONE TWO\nb-1 ONE", "b-1 CAF\xc9")
    spoil(data / "utt2dur", "b-2 0.225", "b-2 0.225\r")
    faults = " ".join(text for _, text in found(report_of(place)))
    assert "not UTF-8 (line 2: b-1)" in faults and "(line 4: b-2)" in faults
    assert "text: 1 utterance of utt2spk missing (a-2)" in faults


def test_a_byte_order_mark_is_the_only_fault_told(place):
    text = place / "data/text"
    text.write_text("\ufeff" + text.read_text(), encoding="utf-8")
    assert [check for check, _ in found(report_of(place))] == ["text"]


def test_a_name_of_a_file_may_hold_what_a_word_may_not(place):
    spoil(place / "data/wav.scp", "a_rec a.wav", "a_rec /a\N{NO-BREAK SPACE}b/a.wav")
    assert found(report_of(place)) == []


def test_letters_of_all_scripts_may_be_printed(place):
    (place / "data/text").write_text("a-1 čаω漢ไ\na-2 क्‍ष\nb-1 Ä\nb-2 😀\n", encoding="utf-8")
    assert found(report_of(place)) == []
