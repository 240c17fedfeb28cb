"""``dkt fix-data``: what Kaldi's fix_data_dir.sh mends."""

from __future__ import annotations

from pathlib import Path

import pytest

from dkt.base.errors import DktError
from dkt.base.findings import Level
from dkt.bin import main
from dkt.util.data_dir import DataDir
from dkt.util.fix_data import fix_data
from dkt.validate.check import check
from tests.fit_data import place
from tests.shell import succeed

__all__ = ["place"]


def content(data: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in data.iterdir() if path.is_file()}


def keys(path: Path) -> list[str]:
    return [line.split()[0] for line in path.read_text().splitlines()]


@pytest.fixture
def data(place: Path) -> Path:
    return place / "data"


def test_a_directory_in_order_is_left_alone(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(data)
    assert main(["fix-data", str(data)]) == 0
    assert content(data) == before and not (data / ".backup").exists()
    assert capsys.readouterr().out == "kept all 4 utterances\n"


def test_lines_are_sorted_by_their_bytes_and_identical_ones_left_once(data: Path) -> None:
    wanted = content(data)
    for path in data.glob("*"):
        if path.suffix != ".ark":
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join([*reversed(lines), lines[0], "\n"]))
    (data / "text").write_bytes(b"\xef\xbb\xbf" + (data / "text").read_bytes().replace(b"\n", b"\r\n"))
    spoilt = content(data)
    (data / "spk2utt").unlink()
    report = fix_data(data)
    assert content(data) == wanted
    assert report.num_before == report.num_after == 4
    assert set(report.changes["text"]) >= {"byte order mark removed", "carriage returns removed", "sorted"}
    assert report.changes["spk2utt"] == ["made"]
    assert (data / ".backup/text").read_bytes() == spoilt["text"]
    assert (data / ".backup/utt2spk").read_bytes() == spoilt["utt2spk"]
    # A second call changes nothing, the old files included.
    assert fix_data(data).changes == {}
    assert (data / ".backup/text").read_bytes() == spoilt["text"]


@pytest.mark.parametrize(
    ("name", "line", "left"),
    [
        ("utt2spk", "a-1 ", ["a-2", "b-1", "b-2"]),
        ("feats.scp", "a-1 ", ["a-2", "b-1", "b-2"]),
        ("text", "b-2 ", ["a-1", "a-2", "b-1"]),
        ("segments", "a-2 ", ["a-1", "b-1", "b-2"]),
        ("utt2lang", "a-2 ", ["a-1", "b-1", "b-2"]),
        ("utt2dur", "a-2 ", ["a-1", "b-1", "b-2"]),
        ("utt2num_frames", "a-2 ", ["a-1", "b-1", "b-2"]),
        ("wav.scp", "b_rec ", ["a-1", "a-2"]),
        ("cmvn.scp", "a ", ["b-1", "b-2"]),
        ("spk2gender", "b ", ["a-1", "a-2"]),
        # These need not be whole.
        ("vad.scp", "a-1 ", ["a-1", "a-2", "b-1", "b-2"]),
        ("spk2warp", "a ", ["a-1", "a-2", "b-1", "b-2"]),
        ("reco2dur", "a_rec ", ["a-1", "a-2", "b-1", "b-2"]),
    ],
)
def test_what_one_file_lacks_goes_from_all(data: Path, name: str, line: str, left: list[str]) -> None:
    lines = (data / name).read_text().splitlines(keepends=True)
    (data / name).write_text("".join(text for text in lines if not text.startswith(line)))
    report = fix_data(data)
    speakers = sorted({utt[0] for utt in left})
    assert report.num_after == len(left)
    for other in ("utt2spk", "feats.scp", "text", "segments", "utt2lang", "utt2dur", "utt2num_frames"):
        assert keys(data / other) == left, other
    for other in ("spk2utt", "cmvn.scp", "spk2gender"):
        assert keys(data / other) == speakers, other
    for other in ("wav.scp", "reco2file_and_channel"):
        assert keys(data / other) == [f"{speaker}_rec" for speaker in speakers], other
    findings = check(DataDir(data)).findings
    assert not [row for row in findings.rows if row.level is Level.ERROR]
    assert fix_data(data).changes == {}


def test_without_segments_recordings_are_utterances(data: Path) -> None:
    (data / "segments").unlink()
    for name in ("reco2file_and_channel", "reco2dur"):
        (data / name).unlink()
    (data / "wav.scp").write_text("x x.wav\nb-1 b.wav\na-1 a.wav\n")
    (data / "pitch.scp").write_text("a-1 p.ark:3\nz p.ark:9\n")
    (data / "extra").write_text("b-2 1\nb-1 2\n")
    assert fix_data(data, utt_extra_files=["extra"]).num_after == 2
    assert (data / "wav.scp").read_text() == "a-1 a.wav\nb-1 b.wav\n"
    assert keys(data / "pitch.scp") == ["a-1"] and keys(data / "extra") == ["b-1"]


def test_cmvn_statistics_may_be_of_utterances(data: Path) -> None:
    (data / "cmvn.scp").write_text("a-1 c.ark:1\na-2 c.ark:2\nb-1 c.ark:3\n")
    assert fix_data(data).num_after == 3
    assert keys(data / "cmvn.scp") == ["a-1", "a-2", "b-1"]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "text",
            "a-2 ONE",
            "a-1 SIX\na-2 ONE",
            r"text: utterance 'a-1': duplicate key, .*'SIX'",
        ),
        (
            "utt2spk",
            "a-1 a\n",
            "a-1 b\n",
            r"utt2spk: .*speaker 'a' comes after 'b' - begin utterance-ids with",
        ),
        ("utt2spk", "a-1 a\n", "a-1\n", r"utt2spk: utterance 'a-1': expected '<utterance> <speaker>'"),
        ("segments", "a-1 a_rec", "a-1", r"segments: utterance 'a-1': expected '<utterance> <recording>"),
        ("segments", " 0 ", " 0 1 x ", r"segments: utterance 'a-1': expected '.*<end> \[<channel>\]'"),
        ("utt2dur", "a-1 0.", "a-1 0,", r"utt2dur: utterance 'a-1': expected '<utterance> <seconds>', found"),
        ("utt2dur", "a-1 0", "a-1 nan 0", r"utt2dur: utterance 'a-1': expected"),
        ("utt2num_frames", "a-1 ", "a-1 x", r"utt2num_frames: utterance 'a-1': expected"),
        ("wav.scp", None, "", r"wav\.scp: is empty"),
        ("text", None, "\n", r"text: is empty"),
        ("cmvn.scp", None, "", r"cmvn\.scp: is empty"),
        ("utt2spk", None, "", r"utt2spk: is empty"),
        ("text", None, "x ONE\n", r"data: no utterance is in all files"),
        ("text", "a-1", "a-1 \udcff", r"text: is not UTF-8"),
    ],
)
def test_what_only_the_user_can_mend(data: Path, name: str, old: str | None, new: str, message: str) -> None:
    text = (data / name).read_text()
    (data / name).write_bytes((text.replace(old, new) if old else new).encode(errors="surrogateescape"))
    before = content(data)
    with pytest.raises(DktError, match=message):
        fix_data(data)
    assert content(data) == before and not (data / ".backup").exists()


def test_a_missing_list_of_speakers_and_recordings(data: Path) -> None:
    (data / "wav.scp").unlink()
    with pytest.raises(DktError, match=r"wav\.scp: does not exist, but segments does"):
        fix_data(data)
    (data / "utt2spk").unlink()
    with pytest.raises(DktError, match=r"utt2spk: does not exist"):
        fix_data(data)


def test_an_empty_list_of_recordings_without_segments(data: Path) -> None:
    (data / "segments").unlink()
    (data / "wav.scp").write_text("")
    with pytest.raises(DktError, match=r"wav\.scp: is empty"):
        fix_data(data)


def test_segments_may_name_a_channel(data: Path) -> None:
    lines = (data / "segments").read_text().splitlines()
    (data / "segments").write_text("".join(f"{line} 0\n" for line in lines))
    assert fix_data(data).changes == {}


def test_what_the_user_had_is_kept_however_often_data_are_mended(data: Path) -> None:
    old = []
    for number in range(3):
        text = (data / "text").read_bytes() + b"x-%d SIX\n" % number
        (data / "text").write_bytes(text)
        old.append(text)
        changes = fix_data(data).changes
        assert "text" in changes
    kept = [(data / ".backup" / name).read_bytes() for name in ("text", "text.1", "text.2")]
    assert kept == old


def test_what_a_user_named_as_dkt_names_unfinished_files_stays(data: Path) -> None:
    (data / ".notes.999999.partial").write_text("notes")
    (data / ".work.999998.partial").mkdir()
    (data / "text").write_bytes((data / "text").read_bytes() + b"\n")
    assert "text" in fix_data(data).changes
    assert (data / ".notes.999999.partial").exists() and (data / ".work.999998.partial").exists()


def test_step(data: Path, tmp_path: Path) -> None:
    lines = (data / "feats.scp").read_text().splitlines(keepends=True)
    (data / "feats.scp").write_text("".join(lines[:0:-1]))
    told = succeed(tmp_path, "steps/fix_data_dir.sh", str(data))
    assert "feats.scp: sorted" in told and "kept 3 utterances out of 4" in told
    assert f"old files are kept in {data}/.backup" in told
    assert (data / ".backup/feats.scp").read_text() == "".join(lines[:0:-1])
