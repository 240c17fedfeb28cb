"""Reading and checking a Kaldi data directory."""

from __future__ import annotations

import pytest

from dkt.base.errors import DktError
from dkt.util.data_dir import DataDir


@pytest.fixture
def data(tmp_path):
    (tmp_path / "utt2spk").write_text("a-1 a\na-2 a\nb-1 b\n")
    (tmp_path / "text").write_text("a-1 ONE TWO\na-2 THREE\nb-1 FOUR\n")
    return tmp_path


def test_reads_speakers_and_transcripts(data):
    directory = DataDir(data)
    assert directory.spk2utt == {"a": ["a-1", "a-2"], "b": ["b-1"]}
    assert directory.text["a-1"] == "ONE TWO"
    directory.check_sorted()


@pytest.mark.parametrize(
    ("name", "content", "read", "message"),
    [
        ("text", "a-1 ONE\na-1 TWO\n", "text", "duplicate key"),
        ("text", "a-1 ONE\n\n", "text", "line 2 is empty"),
        ("utt2spk", "a-1\n", "utt2spk", "has no speaker"),
        ("wav.scp", "a-1\n", "wav_scp", "line 1 is not '<utterance> <file>'"),
    ],
)
def test_bad_lines_name_file_and_utterance(data, name, content, read, message):
    (data / name).write_text(content)
    with pytest.raises(DktError, match=message):
        getattr(DataDir(data), read)


def test_latin_1_text_is_refused(data):
    (data / "text").write_bytes("a-1 CAFÉ\n".encode("latin-1"))
    with pytest.raises(DktError, match=r"text: line 1 is not UTF-8 - convert it"):
        DataDir(data).text  # noqa: B018


def test_missing_directory_and_file(data):
    with pytest.raises(DktError, match="nowhere"):
        DataDir(data / "nowhere")
    with pytest.raises(DktError, match=r"feats\.scp: does not exist - make it with steps/make_fbank"):
        DataDir(data).feats_scp  # noqa: B018


@pytest.mark.parametrize(
    ("lines", "hint"),
    [
        ("a-2 a\na-1 a\n", "dkt fix-data .* sorts the data"),
        ("a-1 b\na-2 a\n", "begin utterance-ids with the"),
    ],
)
def test_unsorted_directories_are_refused(data, lines, hint):
    (data / "utt2spk").write_text(lines)
    with pytest.raises(DktError, match=hint):
        DataDir(data).check_sorted()


def test_the_frame_shift_is_that_of_the_directory_or_a_hundredth_of_a_second(data):
    assert DataDir(data).frame_shift == 0.01
    (data / "frame_shift").write_text("0.0125\n")
    assert DataDir(data).frame_shift == 0.0125
    for wrong in ("", "0", "nan", "inf", "ten", "0.01 0.02", "10ms", "10", "1e9", "0_1", "٠.1", "0.0_1"):
        (data / "frame_shift").write_text(wrong)
        with pytest.raises(DktError, match=rf"frame_shift: expected a number .*, found '{wrong}'"):
            DataDir(data).frame_shift  # noqa: B018
