"""The choice of a GPU, with a stand-in for nvidia-smi."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dkt.base.errors import DktError
from dkt.bin.common import gpus
from dkt.bin.common.devices import choose_device

A, B, C = "GPU-aaaa-1", "GPU-bbbb-2", "GPU-cccc-3"
#: Idle and small; at work; idle and large.
ROWS = f"0, {A}, 300, 16000, 0\n1, {B}, 20000, 81559, 97\n2, {C}, 4, 24000, 0\n"
LISTING = f"""GPU 0: X (UUID: {A})
GPU 1: Y (UUID: {B})
  MIG 1g.10gb     Device  0: (UUID: MIG-1)
  MIG 1g.10gb     Device  1: (UUID: MIG-2)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A directory for programs, in front of PATH, and one for locks."""
    monkeypatch.setattr(gpus, "LOCKS", tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that it is put back
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    yield tmp_path
    gpus.release()


def write_nvidia_smi(place: Path, rows: str, listing: str = "", status: int = 0) -> None:
    program = place / "bin/nvidia-smi"
    program.parent.mkdir(exist_ok=True)
    query = "--query-gpu=index,uuid,memory.used,memory.total,utilization.gpu --format=csv,noheader,nounits"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in "{query}") printf "{rows}" ;; -L) printf "{listing}" ;; *) exit 9 ;; esac\n'
        f"exit {status}\n"
    )
    program.chmod(0o755)


def take_elsewhere(place: Path, *uuids: str) -> subprocess.Popen[str]:
    """Another process that locks GPUs until its stdin is closed."""
    code = (
        "import sys; from pathlib import Path; from dkt.bin.common import gpus\n"
        "gpus.LOCKS = Path(sys.argv[1])\n"
        "print(*[gpus._lock(uuid) for uuid in sys.argv[2:]], flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(place), *uuids]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().split() == ["True"] * len(uuids)
    return process


def test_the_idle_gpu_with_most_memory_is_taken_and_the_others_are_hidden(place: Path) -> None:
    write_nvidia_smi(place, ROWS)
    choice = gpus.take_gpu()
    assert choice.gpu is not None and choice.gpu.uuid == C
    assert os.environ["CUDA_VISIBLE_DEVICES"] == C
    assert str(choice.gpu) == f"GPU {C}, 23996 of 24000 MiB free"
    assert choice.why == "3 to choose from, CUDA_VISIBLE_DEVICES is not set"


def test_jobs_that_start_at_once_take_different_gpus_and_share_when_none_is_left(place: Path) -> None:
    write_nvidia_smi(place, ROWS)
    with take_elsewhere(place, C) as other:
        assert gpus.take_gpu().gpu.uuid == A
        del os.environ["CUDA_VISIBLE_DEVICES"]
        choice = gpus.take_gpu()  # one process after another would not hold both
        assert choice.gpu.uuid == B and choice.why.startswith("in use by other programs, but none is idle")
        other.communicate("")
    del os.environ["CUDA_VISIBLE_DEVICES"]
    gpus.release()
    with take_elsewhere(place, A, B, C) as other:
        choice = gpus.take_gpu()
        # 61559 MiB are free on the one that computes.
        assert choice.gpu.uuid == B and choice.why.startswith("shared, as other jobs have taken all 3;")
        other.communicate("")
    del os.environ["CUDA_VISIBLE_DEVICES"]
    # A lock ends with its process.
    assert gpus.take_gpu().gpu.uuid == C


@pytest.mark.parametrize(
    ("visible", "taken"),
    [
        ("0", "0"),
        ("1,0", "0"),
        ("1", "1"),
        (f"{B}, {A}", A),
        ("GPU-bbbb", "GPU-bbbb"),
        ("MIG-7", "MIG-7"),
        ("0,-1,2", "0"),
        ("0,7,2", "0"),
        ("", None),
        ("-1,2", None),
        ("GPU-", None),
        ("NoDevFiles", None),
    ],
)
def test_only_what_the_queue_allows_is_taken(
    place: Path, monkeypatch: pytest.MonkeyPatch, visible: str, taken: str | None
) -> None:
    """Names stay as they were given: CUDA need not count as nvidia-smi does."""
    write_nvidia_smi(place, ROWS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    choice = gpus.take_gpu()
    assert (choice.gpu and choice.gpu.name) == taken
    assert os.environ["CUDA_VISIBLE_DEVICES"] == (visible if taken is None else taken)
    assert f"CUDA_VISIBLE_DEVICES is '{visible}'" in choice.why


def test_instances_of_a_gpu_that_is_cut_are_taken_one_by_one(place: Path) -> None:
    write_nvidia_smi(place, f"0, {A}, 15000, 16000, 90\n1, {B}, 30, 81559, [N/A]\n", LISTING)
    taken = []
    for _ in range(3):
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        taken.append(gpus.take_gpu().gpu.name)
    assert taken == ["MIG-1", "MIG-2", A]


def test_a_card_that_tells_nothing_is_a_choice(place: Path) -> None:
    write_nvidia_smi(place, f"0, {A}, [N/A], [N/A], [N/A]\n")
    assert gpus.take_gpu().gpu.uuid == A


def test_locks_of_another_place_do_not_stop_a_job(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_nvidia_smi(place, ROWS)
    monkeypatch.setattr(gpus, "LOCKS", place / "nowhere")
    assert gpus.take_gpu().gpu.uuid == C


def test_a_lock_can_be_opened_by_other_users_whatever_the_umask(place: Path) -> None:
    write_nvidia_smi(place, ROWS)
    umask = os.umask(0o077)
    try:
        assert gpus.take_gpu().gpu.uuid == C
    finally:
        os.umask(umask)
    assert (place / f"dkt-gpu-{C}.lock").stat().st_mode & 0o777 == 0o666


def test_a_lock_that_may_not_be_opened_counts_as_taken(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_nvidia_smi(place, ROWS)
    lock = place / f"dkt-gpu-{C}.lock"
    lock.touch()
    opened = os.open

    def refuse(path: Path, flags: int, *more: int) -> int:
        if path == lock and not flags & os.O_CREAT:
            raise PermissionError
        return opened(path, flags, *more)

    monkeypatch.setattr(os, "open", refuse)  # root may open all
    assert gpus.take_gpu().gpu.uuid == A


def device(use_gpu: str) -> torch.device:
    return choose_device(argparse.Namespace(use_gpu=use_gpu, num_threads=1))


@pytest.mark.parametrize(
    ("rows", "status", "looked_at", "is_one"),
    [
        (None, 0, "nvidia-smi is not there to ask, CUDA_VISIBLE_DEVICES is not set", False),
        (
            "NVIDIA-SMI has failed\n",
            9,
            "nvidia-smi: it failed with status 9 and said: NVIDIA-SMI has failed",
            True,
        ),
        ("No devices were found\n", 0, "nvidia-smi lists 0 GPUs, CUDA_VISIBLE_DEVICES is not set", False),
        (ROWS, 0, f"GPU {C}, 23996 of 24000 MiB free was chosen", True),
    ],
)
def test_without_a_gpu_that_works_it_is_told_what_was_looked_at(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    rows: str | None,
    status: int,
    looked_at: str,
    is_one: bool,
) -> None:
    if rows is None:
        monkeypatch.setenv("PATH", str(place))
    else:
        write_nvidia_smi(place, rows, status=status)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        DktError, match=r"--use-gpu=yes, but no GPU can be used.*run with --use-gpu=no"
    ) as error:
        device("yes")
    assert looked_at in str(error.value)
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    caplog.set_level("INFO")
    assert device("optional").type == "cpu"
    (line,) = caplog.messages
    if is_one:  # of a machine that should have a GPU it is told why there is none
        assert line.startswith("no GPU (") and looked_at in line
        assert line.endswith("): 1 CPU thread (--num-threads)")
    else:
        assert line == "no GPU: 1 CPU thread (--num-threads)"
    # A job that computes elsewhere keeps no GPU from others.
    with take_elsewhere(place, A, B, C) as other:
        other.communicate("")


def test_a_gpu_is_chosen_before_torch_looks_and_none_is_when_none_is_wanted(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_nvidia_smi(place, ROWS)
    seen = []

    def is_available() -> bool:
        seen.append(os.environ.get("CUDA_VISIBLE_DEVICES"))
        return True

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    monkeypatch.setattr(torch, "zeros", lambda *_, device: None)
    assert device("no").type == "cpu" and seen == []
    caplog.set_level("INFO")
    assert device("yes").type == "cuda" and seen == [C]
    assert caplog.messages == [
        f"computing on GPU {C}, 23996 of 24000 MiB free (3 to choose from, CUDA_VISIBLE_DEVICES is not set): "
        "a card"
    ]


def test_a_gpu_that_another_process_has_for_itself_is_told(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_nvidia_smi(place, ROWS)

    def refuse(*_: object, device: str) -> None:
        raise RuntimeError("CUDA-capable device(s) is/are busy or unavailable\nSearch for it")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", refuse)
    with pytest.raises(DktError, match=r"but CUDA-capable device\(s\) is/are busy or unavailable - run"):
        device("yes")
