"""What steps do not trust: files that a configuration names, num_jobs, logs, programs, names."""

from __future__ import annotations

import dataclasses
import os
import typing
from pathlib import Path

import pytest

from dkt.base import ranges
from dkt.base.config import named_files
from dkt.base.directory_lock import STEP_LOCK, hold_directory
from dkt.base.errors import DktError
from dkt.nnet.networks import NETWORKS
from dkt.targets.store import TargetDir
from dkt.train.recipes import recipe_class
from tests.recipe_lab import CALLS, call_of, count_jobs, write
from tests.shell import ROOT, fails, run, succeed
from tests.stand_ins import StandIns

# --- files that a configuration names ---


@pytest.mark.parametrize("recipe", map(recipe_class, NETWORKS))
def test_every_key_that_names_a_file_is_found(tmp_path: Path, recipe: type) -> None:
    features = typing.get_type_hints(recipe)["features"]
    hints = typing.get_type_hints(features, include_extras=True)
    lines = []
    for field in dataclasses.fields(features):
        if any(isinstance(x, ranges.FileName) for x in getattr(hints[field.name], "__metadata__", ())):
            write(tmp_path / "data" / field.name, "x\n")
            place = field.name if field.name == "paste" else f"{tmp_path}/data/{field.name}"
            lines.append(f"  {field.name}: {place}\n")
    assert len(lines) >= 3
    write(tmp_path / "net.yaml", "features:\n  splice_opts: null\n" + "".join(lines))
    found = named_files(tmp_path / "net.yaml", [tmp_path / "data"])
    assert {Path(name).name for name in found} == {line.split(":")[0].strip() for line in lines}


def test_aliases_and_impossible_names_in_a_configuration(tmp_path: Path) -> None:
    write(tmp_path / "a.mat", "x")
    text = f"a: &a [{tmp_path}/a.mat, '{'x' * 5000}', \"\\0\", {tmp_path}]\n"
    text += "".join(f"b{i}: &b{i} [{', '.join([f'*b{i - 1}' if i else '*a'] * 9)}]\n" for i in range(20))
    write(tmp_path / "net.yaml", text)
    assert named_files(tmp_path / "net.yaml") == [f"{tmp_path}/a.mat"]


@pytest.mark.parametrize(("step", "option"), [("train_dnn", "--dnn-config"), ("train_lstm", "--lstm-config")])
@pytest.mark.parametrize(
    "key", ["transform: lda.mat", "paste: feats.scp pitch/feats", "streams: feats.scp pitch/feats"]
)
def test_a_changed_file_that_a_configuration_names_is_another_input(
    tools: StandIns, place: Path, step: str, option: str, key: str
) -> None:
    write(place / "net.yaml", f"features: {{{key}}}\n")
    changed = place / ("lda.mat" if "lda" in key else "data/pitch/feats")
    write(changed, "x\n")
    call = call_of(step, option, "net.yaml")
    assert count_jobs(tools, place, *call) > 0 and count_jobs(tools, place, *call) == 0
    write(changed, "another\n")
    assert count_jobs(tools, place, *call) > 0 and count_jobs(tools, place, *call) == 0
    write(place / "net.yaml", "features: {\n")
    assert "net.yaml: not YAML" in fails(place, *call, **tools.with_kaldi)


# --- locks ---


@pytest.mark.parametrize("step", CALLS)
def test_every_step_is_refused_where_another_is_at_work(tools: StandIns, place: Path, step: str) -> None:
    call = call_of(step)
    where = place / (call[-1] if step not in ("make_mfcc", "make_fbank") else "data")
    before = {path: path.stat().st_mtime_ns for path in where.rglob("*") if path.is_file()}
    with hold_directory(where, "steps/first.sh", name=STEP_LOCK):
        output = fails(place, *call, **tools.with_kaldi)
        assert "another process writes in this directory: steps/first.sh on host" in output
        assert f"pid {os.getpid()}" in output and tools.calls() == []
        after = {path: path.stat().st_mtime_ns for path in where.rglob("*") if path.is_file()}
        after.pop(where / STEP_LOCK)
        assert after == before


def test_data_are_not_mended_or_checked_by_two_at_once(tools: StandIns, place: Path) -> None:
    for step, where in (("fix_data_dir", "data"), ("check_data", "data/log")):
        with hold_directory(place / where, "steps/first.sh", name=STEP_LOCK):
            output = fails(place, f"steps/{step}.sh", "data", **tools.with_kaldi)
        assert "another process writes in this directory: steps/first.sh" in output and tools.calls() == []


# --- logs ---


def test_a_log_that_cannot_be_read_is_no_loss_of_data(tmp_path: Path) -> None:
    write(tmp_path / "step.sh", f"#!/bin/bash\n. {ROOT}/steps/lib/common.sh\ncheck_losses 0.05 x.log\n")
    (tmp_path / "x.log").mkdir()
    (tmp_path / "step.sh").chmod(0o755)
    output = fails(tmp_path, str(tmp_path / "step.sh"))
    assert "the log 'x.log' cannot be read" in output and "--max-dropped" not in output
    (tmp_path / "x.log").rmdir()
    assert "no log 'x.log'" in fails(tmp_path, str(tmp_path / "step.sh"))
    # Awk that fails for whatever reason.
    write(tmp_path / "x.log", "INFO (dkt x) x: 9 utterances done, 0 dropped\n")
    write(tmp_path / "bin/awk", "#!/bin/sh\necho 'awk: cannot open' >&2\nexit 2\n")
    (tmp_path / "bin/awk").chmod(0o755)
    script = (tmp_path / "step.sh").read_text()
    write(tmp_path / "step.sh", script.replace("check_losses", f"PATH={tmp_path}/bin:$PATH\ncheck_losses"))
    output = fails(tmp_path, str(tmp_path / "step.sh"))
    assert "the logs could not be read" in output and "--max-dropped" not in output


# --- names ---


@pytest.mark.parametrize("name", ["-dec", "a=b", "+x"])
def test_a_working_directory_with_the_word_for_the_job(tools: StandIns, place: Path, name: str) -> None:
    moved = place.rename(place.parent / "JOBx")
    call = ["steps/decode.sh", "--skip-scoring", "true", "--nj", "4", "--srcdir", "exp/dnn"]
    output = fails(moved, *call, "exp/graph", "data", name, **tools.with_kaldi)
    assert f"'{moved}/{name}' holds JOB" in output and tools.calls() == []
    assert {path.name for path in moved.parent.iterdir()} == {"JOBx", "tools"}


# --- programs ---


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("#!/etc/passwd\n", "bad interpreter: Permission denied"),
        ("#!/nowhere/python\n", "/dkt: "),
        ("\x7fELF of another machine", "Exec format error"),
        (
            "#!/bin/sh\necho so and so\nexit 3\n",
            "dkt forward ended with status 3; the last line of its log is: so",
        ),
    ],
)
def test_why_a_program_could_not_be_run(tools: StandIns, place: Path, program: str, reason: str) -> None:
    write(place.parent / "tools/bin/dkt", program)
    done = run(place, *call_of("forward"), **tools.alone)
    last = done.stderr.splitlines()[-1]
    assert done.returncode != 0 and reason in last and "jobs 1, 2, 3, 4 of 4 failed" in last, done.stderr
    assert "dkt forward could not be run" in last or "status 3" in reason


# --- num_jobs ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("99999999\n", "no 'exp/dnn/scored/lat.3.gz', though num_jobs is 99999999"),
        ("3\n", "no 'exp/dnn/scored/lat.3.gz', though num_jobs is 3"),
        ("abc\n", "holds 'abc', expected one number above 0"),
        ("2 2\n", "holds '2 2', expected one number above 0"),
        ("0\n", "holds '0', expected one number above 0"),
        ("1" * 5000, "expected one number above 0"),
    ],
)
def test_the_number_of_jobs_of_a_decoding(tools: StandIns, place: Path, text: str, message: str) -> None:
    write(place / "exp/dnn/scored/num_jobs", text)
    assert message in fails(place, *call_of("score"), **tools.with_kaldi)
    assert tools.calls() == []
    write(place / "exp/dnn/scored/num_jobs", " 2 \n")
    assert count_jobs(tools, place, *call_of("score")) > 0


def test_lattices_that_num_jobs_leaves_out_are_told(tools: StandIns, place: Path) -> None:
    write(place / "exp/dnn/scored/num_jobs", "1\n")
    output = succeed(place, *call_of("score"), **tools.with_kaldi)
    assert "warning: exp/dnn/scored/lat.2.gz is left out, as num_jobs is 1" in output


# --- soft targets ---


@pytest.mark.parametrize(("damaged", "removed"), [("soft.2.ark", "soft.scp"), ("header.yaml", "header.yaml")])
def test_damaged_soft_targets_are_made_again_as_the_error_says(
    tools: StandIns, place: Path, damaged: str, removed: str
) -> None:
    """A bit that flips changes neither size nor time."""
    call = call_of("make_soft_targets")
    assert count_jobs(tools, place, *call) == 1 and count_jobs(tools, place, *call) == 0
    path = place / "exp/soft" / damaged
    whole, state = path.read_bytes(), path.stat()
    path.write_bytes(whole[:-1] + b"!")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    (place / "exp/soft" / removed).unlink()
    assert count_jobs(tools, place, *call) == 1 and path.read_bytes() == whole
    assert count_jobs(tools, place, *call) == 0


def test_the_hint_names_the_file_to_remove(tmp_path: Path) -> None:
    write(tmp_path / "header.yaml", "format: dkt-soft-targets\nversion: 1\n")
    with pytest.raises(DktError, match=r"header.yaml: is damaged .* - remove it and make them again"):
        TargetDir(tmp_path)
