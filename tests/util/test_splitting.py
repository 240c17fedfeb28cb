"""Sharing utterances out to jobs, for split data directories and for alignments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dkt.base.errors import DktError
from dkt.gmm.align import split_into_jobs
from dkt.util.split_data import split_utterances
from tests.shell import ROOT


def make_utt2spk(sizes: list[int]) -> dict[str, str]:
    return {f"s{s}-{n:02d}": f"s{s}" for s, size in enumerate(sizes) for n in range(size)}


@pytest.mark.parametrize(
    ("sizes", "num_parts", "expected"),
    [
        ([6, 1, 1, 4, 4], 2, [8, 8]),
        ([6, 1, 1, 4, 4], 3, [6, 6, 4]),
        ([1, 1, 1, 9], 2, [3, 9]),
        ([5], 2, [3, 2]),
        ([10], 4, [3, 3, 2, 2]),
        ([4, 3], 3, [3, 2, 2]),
    ],
)
def test_parts_have_the_sizes_of_kaldis(sizes: list[int], num_parts: int, expected: list[int]) -> None:
    pairs = list(make_utt2spk(sizes).items())
    parts = split_utterances(pairs, num_parts)
    assert [len(part) for part in parts] == expected
    assert [pair for part in parts for pair in part] == pairs


@pytest.mark.parametrize(("sizes", "num_parts"), [([10], 4), ([6, 1, 1, 4, 4], 3), ([2, 7, 1, 1, 5, 3], 4)])
def test_jobs_of_an_alignment_are_the_parts_of_the_split_directory(
    tmp_path: Path, sizes: list[int], num_parts: int
) -> None:
    utt2spk = make_utt2spk(sizes)
    (tmp_path / "utt2spk").write_text("".join(f"{utt} {spk}\n" for utt, spk in utt2spk.items()))
    per_utt = ["--per-utt"] if num_parts > len(sizes) else []
    command = [str(ROOT / "steps/utils/split_data.sh"), *per_utt, str(tmp_path), str(num_parts)]
    subprocess.run(command, check=True, timeout=60)
    split = tmp_path / f"split{num_parts}{'utt' if per_utt else ''}"
    parts = [(split / str(part + 1) / "utt2spk").read_text().split()[::2] for part in range(num_parts)]
    assert split_into_jobs(utt2spk, num_parts) == parts


def test_more_parts_than_utterances() -> None:
    with pytest.raises(DktError, match="cannot split 2 utterances into 3 parts - lower --nj to at most 2"):
        split_utterances([("a", "x"), ("b", "y")], 3)


def test_splitting_needs_no_other_package() -> None:
    code = "import sys, dkt.util.split_data\n"
    code += "print(sorted({'numpy', 'torch', 'yaml', 'logging'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
