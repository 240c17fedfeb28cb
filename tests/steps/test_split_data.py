"""steps/utils/split_data.sh and make_split: data directories in parts for parallel jobs, as in Kaldi."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.shell import ROOT

SPLIT_DATA = ROOT / "steps/utils/split_data.sh"
#: speaker: number of utterances
SPEAKERS = {"anna": 6, "bela": 1, "cyril": 1, "dora": 4, "emil": 4}


def write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory in which every utterance is its own recording."""
    folder = tmp_path / "a data directory"
    folder.mkdir()
    utts = [(f"{speaker}-{n}", speaker) for speaker, count in SPEAKERS.items() for n in range(count)]
    write(folder / "utt2spk", [f"{utt} {speaker}" for utt, speaker in utts])
    for name in ("wav.scp", "feats.scp", "text", "utt2num_frames", "utt2dur"):
        write(folder / name, [f"{utt} {name} of {utt}" for utt, _ in utts])
    for name in ("cmvn.scp", "spk2gender"):
        write(folder / name, [f"{speaker} {name} of {speaker}" for speaker in SPEAKERS])
    rows = [" ".join([s, *(utt for utt, of in utts if of == s)]) for s in SPEAKERS]
    write(folder / "spk2utt", rows)
    return folder


def split(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(SPLIT_DATA), *map(str, arguments)], capture_output=True, text=True, timeout=60)


def keys(path: Path) -> list[str]:
    return [line.split()[0] for line in path.read_text().splitlines()]


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Path to (inode, time) of everything below a folder: a rewritten file differs."""
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


def test_speakers_stay_whole_and_parts_are_balanced(data: Path) -> None:
    done = split(data, 3)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    parts = [keys(data / f"split3/{part}/spk2utt") for part in (1, 2, 3)]
    # 6, 6 and 4 utterances; two speakers, two speakers and one would have 7, 5 and 4.
    assert parts == [["anna"], ["bela", "cyril", "dora"], ["emil"]]
    assert keys(data / "split3/2/utt2spk") == ["bela-0", "cyril-0", *(f"dora-{n}" for n in range(4))]
    assert (data / "split3/2/spk2utt").read_text().splitlines()[2] == "dora dora-0 dora-1 dora-2 dora-3"


@pytest.mark.parametrize("arguments", [[], ["--per-utt"]])
def test_every_line_lands_in_the_part_of_its_utterance_or_speaker(data: Path, arguments: list[str]) -> None:
    assert split(*arguments, data, 4).returncode == 0
    parts = sorted((data / ("split4utt" if arguments else "split4")).iterdir())
    assert [part.name for part in parts] == ["1", "2", "3", "4"]
    for part in parts:
        utts, speakers = keys(part / "utt2spk"), keys(part / "spk2utt")
        for name in ("wav.scp", "feats.scp", "text", "utt2num_frames", "utt2dur"):
            lines = (part / name).read_text().splitlines()
            assert lines == [f"{utt} {name} of {utt}" for utt in utts]
        for name in ("cmvn.scp", "spk2gender"):
            assert keys(part / name) == speakers
    joined = "".join((part / "feats.scp").read_text() for part in parts)
    assert joined == (data / "feats.scp").read_text()


def test_per_utt_parts_differ_by_one_utterance_at_most(data: Path) -> None:
    assert split("--per-utt", data, 5).returncode == 0
    assert [len(keys(data / f"split5utt/{part}/utt2spk")) for part in range(1, 6)] == [4, 3, 3, 3, 3]


def test_segments_bring_the_recordings_they_refer_to(data: Path) -> None:
    utts = keys(data / "utt2spk")
    # One recording a pair of utterances, so that one of them is needed by two parts.
    write(data / "segments", [f"{utt} rec{n // 2} 0.0 1.0" for n, utt in enumerate(utts)])
    write(data / "wav.scp", [f"rec{n} flac -cd rec{n}.flac |" for n in range((len(utts) + 1) // 2)])
    assert split("--per-utt", data, 5).returncode == 0
    assert keys(data / "split5utt/1/segments") == utts[:4]
    assert keys(data / "split5utt/1/wav.scp") == ["rec0", "rec1"]
    assert keys(data / "split5utt/2/segments") == utts[4:7]
    assert (data / "split5utt/2/wav.scp").read_text().splitlines() == [
        "rec2 flac -cd rec2.flac |",
        "rec3 flac -cd rec3.flac |",
    ]
    assert keys(data / "split5utt/3/wav.scp") == ["rec3", "rec4"]


def test_nothing_is_done_again_until_the_data_change(data: Path) -> None:
    split(data, 2)
    before = snapshot(data / "split2")
    assert split(data, 2).returncode == 0
    assert snapshot(data / "split2") == before

    text = (data / "text").read_text()
    (data / "text").write_text(text.replace("text of emil-0", "new words"))
    assert split(data, 2).returncode == 0
    assert "emil-0 new words" in (data / "split2/2/text").read_text()

    write(data / "vad.scp", [f"{utt} vad" for utt in keys(data / "utt2spk")])  # a file that was not there
    split(data, 2)
    assert keys(data / "split2/1/vad.scp") == keys(data / "split2/1/utt2spk")

    (data / "feats.scp").unlink()  # a file that is there no more
    split(data, 2)
    assert not (data / "split2/1/feats.scp").exists()
    assert not [path for path in data.iterdir() if path.name.startswith(".")]


def test_more_parts_than_speakers_is_refused_with_the_way_out(data: Path) -> None:
    done = split(data, 6)
    assert done.returncode == 1
    assert "cannot split 5 speakers into 6 parts" in done.stderr
    assert "lower --nj to at most 5, or split with --per-utt" in done.stderr
    assert not (data / "split6").exists()
    assert split("--per-utt", data, 6).returncode == 0


@pytest.mark.parametrize(
    ("utt2spk", "message"),
    [
        ("", "it lists no utterance"),
        ("a s\nb\n", "expected '<utterance> <speaker>', found 'b'"),
        ("a s\nb s\na t\n", "utterance 'a': is a duplicate"),
    ],
)
def test_a_bad_utt2spk_is_named(tmp_path: Path, utt2spk: str, message: str) -> None:
    (tmp_path / "utt2spk").write_text(utt2spk)
    done = split(tmp_path, 1)
    assert done.returncode == 1
    assert f"{tmp_path}/utt2spk: {message}" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["utt2spk"]


def test_missing_data_and_wrong_counts_are_errors(data: Path, tmp_path: Path) -> None:
    done = split(tmp_path / "absent", 2)
    assert done.returncode == 1
    assert "absent/utt2spk: no such file" in done.stderr
    done = split(data, 0)
    assert done.returncode == 1
    assert "expected a number above 0" in done.stderr


def test_what_does_not_match_is_counted_aloud(data: Path) -> None:
    lines = (data / "feats.scp").read_text().splitlines()
    write(data / "feats.scp", [*lines[2:], "zoe-1 feats.scp of zoe-1"])
    done = split(data, 2)
    assert done.returncode == 0
    assert "feats.scp: 1 lines are left out, first 'zoe-1'" in done.stderr
    assert "feats.scp: nothing for 2 of 16 utterances, first 'anna-0'" in done.stderr


def test_concurrent_calls_leave_one_whole_split(data: Path) -> None:
    split(data, 4)
    os.utime(data / "utt2spk")  # stale: all of them will want to replace it
    calls = [subprocess.Popen([str(SPLIT_DATA), str(data), "4"], stderr=subprocess.PIPE) for _ in range(6)]
    results = [(call.communicate(timeout=60)[1], call.returncode) for call in calls]
    assert results == [(b"", 0)] * 6
    assert sorted(path.name for path in (data / "split4").iterdir()) == ["1", "2", "3", "4"]
    joined = [utt for part in range(1, 5) for utt in keys(data / f"split4/{part}/feats.scp")]
    assert joined == keys(data / "utt2spk")
    assert not [path for path in data.iterdir() if path.name.startswith(".")]


def make_split(data: Path, nj: int) -> subprocess.CompletedProcess[str]:
    """Call make_split as a step does."""
    step = f"""set -euo pipefail
        . "{ROOT}/steps/lib/common.sh"
        sdata=$(make_split "$1" {nj}) || exit 1
        echo "$sdata"
    """
    variables = {name: value for name, value in os.environ.items() if name not in ("KALDI_ROOT", "DKT_ROOT")}
    folder = data.parent / "bin"
    folder.mkdir(exist_ok=True)
    command = folder / "dkt"  # common.sh wants the command; it is not called here
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    return subprocess.run(
        ["bash", "-c", step, "step.sh", str(data)],
        env={**variables, "PATH": f"{folder}:{variables['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_make_split_falls_back_to_utterances_and_is_quiet_the_second_time(data: Path) -> None:
    assert make_split(data, 2).stdout == f"{data}/split2\n"
    first = make_split(data, 8)
    assert first.stdout == f"{data}/split8utt\n"
    assert "fewer speakers than the 8 jobs" in first.stderr
    second = make_split(data, 8)
    assert (second.stdout, second.stderr) == (first.stdout, "")
    assert len(list((data / "split8utt").iterdir())) == 8


def test_make_split_stops_the_step_when_it_cannot(data: Path, tmp_path: Path) -> None:
    done = make_split(data, 17)
    assert done.returncode == 1
    assert "cannot split 16 utterances into 17 parts - lower --nj to at most 16" in done.stderr
    done = make_split(tmp_path / "absent", 2)
    assert done.returncode == 1
    assert "absent/utt2spk': prepare the data directory first" in done.stderr


@pytest.mark.parametrize("name", ["utt2spk", "feats.scp", "cmvn.scp"])
def test_a_byte_order_mark_is_told(data: Path, name: str) -> None:
    (data / name).write_bytes(b"\xef\xbb\xbf" + (data / name).read_bytes())
    done = split(data, 2)
    assert done.returncode == 1
    assert (
        f"{data / name}: begins with a byte order mark, U+FEFF (BYTE ORDER MARK) - remove it: sed"
        in done.stderr
    )
