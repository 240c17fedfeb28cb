"""A finished step does nothing when called again, unless its options, inputs or results changed."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import pytest

from tests.recipe_lab import CALLS, CHANGES, call_of, count_jobs, write
from tests.shell import ROOT, run, succeed
from tests.stand_ins import StandIns

#: A result of each.
RESULTS = {
    "make_mfcc": "data/data/raw_mfcc_data.3.ark",
    "make_fbank": "data/data/utt2num_frames_data.1",
    "compute_cmvn_stats": "data/data/cmvn_data.ark",
    "perturb_data_dir_speed": "data_sp/wav/a.wav",
    "perturb_data_dir_volume": "data_vol/wav/a.wav",
    "augment_data_dir": "data_aug/wav/a.wav",
    "copy_ali_dir": "exp/copied_ali/ali.3.gz",
    "prepare_lang": "lang_made/phones/sets.int",
    "train_mono": "exp/mono/ali.2.gz",
    "align_si": "exp/si_ali/tree",
    "make_fmllr_feats": "data_fmllr/data/trans.4",
    "align": "exp/ali/ali.3.gz",
    "mkgraph": "exp/gmm/graph/phones/silence.csl",
    "train_dnn": "exp/net/final.pt",
    "make_soft_targets": "exp/soft/soft.2.ark",
    "train_lstm": "exp/net/final.mdl",
    "train_nnet": "exp/net/final.pt",
    "forward": "exp/post/output.1.scp",
    "make_priors": "exp/dnn/prior_counts",
    "decode": "exp/dnn/decode/lat.4.gz",
    "decode_scan": "exp/dnn/scan/scoring/job.3/9_0.5.txt",
    "score": "exp/dnn/scored/wer_9_0.5",
}
#: Options that say how, not what; what other marks are about; what comes with the inputs.
HOW = {
    "stage",
    "cmd",
    "use-gpu",
    "num-threads",
    "skip-check",
    "cache-dir",
    "skip-scoring",
    "scoring-opts",
    "help",
    "steal-lock",
    "allow-implausible",
}
BY_FILES = {
    "ensemble",
    "srcdir",
    "model",
    "nnet",
    "class-frame-counts",
    "transform-dir",
    "transform-dir-dev",
    "ivectors-dev",
    "dnn-config",
    "lstm-config",
    "nnet-config",
    "mfcc-config",
    "fbank-config",
    "ali-dir",
    "dev-text",
    "teacher",
    "soft-targets",
    "latgen",
    "bg-noise-dir",
    "fg-noise-dir",
    "reco2vol",
    "write-reco2vol",
}


def jobs(tools: StandIns, place: Path, step: str, *options: str) -> int:
    """Call a step that has to succeed; how many calls of a job runner that took."""
    return count_jobs(tools, place, *call_of(step, *options))


@pytest.mark.parametrize("step", CALLS)
def test_a_finished_step_does_nothing_and_a_changed_or_damaged_one_does_it_again(
    tools: StandIns, place: Path, step: str
) -> None:
    options, source = CHANGES[step]
    assert jobs(tools, place, step) > 0 and jobs(tools, place, step) == 0
    # Nothing that is there may have been touched.
    result = place / RESULTS[step]
    before = result.stat()
    assert jobs(tools, place, step) == 0
    assert (result.stat().st_mtime_ns, result.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    with result.open("a") as file:
        file.write("damage")
    assert jobs(tools, place, step) > 0 and b"damage" not in result.read_bytes()
    result.unlink()
    assert jobs(tools, place, step) > 0 and result.exists() and jobs(tools, place, step) == 0
    assert jobs(tools, place, step, *options) > 0 and jobs(tools, place, step, *options) == 0
    if source.endswith(".gz"):
        (place / source).write_bytes(gzip.compress(b"a-2\n"))
    else:
        with (place / source).open("a") as file:
            file.write("x-1 x\n" if source.endswith("utt2spk") else "more\n")
    assert jobs(tools, place, step, *options) > 0 and jobs(tools, place, step, *options) == 0
    # The mark is what the message says to remove.
    output = succeed(place, *call_of(step, *options), **tools.with_kaldi)
    (place / re.findall(r"to do it again, remove (\S+)\)", output)[0]).unlink()
    tools.calls()
    assert jobs(tools, place, step, *options) > 0


@pytest.mark.parametrize("step", CALLS)
def test_every_option_that_results_depend_on_stands_in_the_mark(
    tools: StandIns, place: Path, step: str
) -> None:
    succeed(place, *call_of(step), **tools.with_kaldi)
    marks = [path for path in place.rglob(".*.done") if step.split("_")[-1] in path.name or step in path.name]
    (mark,) = marks
    noted = {line.partition("=")[0].replace("_", "-") for line in mark.read_text().splitlines()}
    told = succeed(place, f"steps/{step}.sh", "--help")
    options = set(re.findall(r"--([a-z][a-z0-9-]+)", told.partition("options")[2]))
    # A sum over the jobs does not depend on how many they are; decode.sh tells options of the scoring, too.
    how = HOW | {
        "make_priors": {"nj"},
        "decode": {"min-lmwt", "max-lmwt"},
        # Of teachers of nnet3, whose marks have them.
        "make_soft_targets": {"nnet3-output", "frame-subsampling-factor"},
    }.get(step, set())
    assert options and options - how - BY_FILES - noted == set()


def test_another_way_to_the_same_directory_makes_no_difference(tools: StandIns, place: Path) -> None:
    assert jobs(tools, place, "forward") == 1
    command = ["steps/forward.sh", "--nj", "4", "data/", "./exp/dnn", f"{place}/exp/post/"]
    assert "done already" in succeed(place, *command, **tools.with_kaldi)
    other = ["steps/forward.sh", "--nj", "4", "../data", "../exp/dnn", "../exp/post"]
    # Relative names in feats.scp are those of the working directory, as ever.
    write(place / "exp/feats.ark", "x\n")
    shutil.copystat(place / "feats.ark", place / "exp/feats.ark")
    assert "done already" in succeed(place / "exp", *other, **tools.with_kaldi)
    place.rename(place.parent / "moved")
    assert "done already" in succeed(place.parent / "moved", *call_of("forward"), **tools.with_kaldi)


def test_inputs_that_change_while_a_step_runs_are_not_taken_for_those_it_read(
    tools: StandIns, place: Path
) -> None:
    program = tools.kaldi / "egs/wsj/s5/utils/run.pl"
    runner = program.read_text()
    program.write_text(
        runner.replace("failed = 0\n", 'failed = 0\nPath("exp/dnn/final.pt").write_text("later")\n')
    )
    assert jobs(tools, place, "forward") == 1
    program.write_text(runner)
    assert jobs(tools, place, "forward") == 1 and jobs(tools, place, "forward") == 0


def test_the_data_of_a_recipe_keep_their_features(tools: StandIns, place: Path) -> None:
    command = ["local/make_feature_sets.sh", "--nj", "2", ".", "data", "dev"]
    first = run(place, *command, **tools.with_kaldi)
    assert first.returncode == 0 and len([c for c in tools.calls() if c[0] == "run.pl"]) == 8
    assert run(place, *command, **tools.with_kaldi).stdout.count("done already") == 8
    assert not [call for call in tools.calls() if call[0] == "run.pl"]


def test_results_of_very_many_files_are_looked_at(tools: StandIns, place: Path) -> None:
    assert jobs(tools, place, "perturb_data_dir_speed") == 1
    for number in range(1500):
        write(place / f"data_sp/wav/{number}.wav", "x")
    assert jobs(tools, place, "perturb_data_dir_speed") == 1
    assert jobs(tools, place, "perturb_data_dir_speed") == 0
    write(place / "data_sp/wav/777.wav", "cut")
    assert jobs(tools, place, "perturb_data_dir_speed") == 1
    assert len((place / "data_sp/.perturb_data_dir_speed.done").read_text()) < 2000


def test_every_step_is_known_here() -> None:
    sourced = [
        "common",
        "checks",
        "decoding",
        "jobs",
        "lattices",
        "logs",
        "marks",
        "make_feats",
        "check_data",
        "fix_data_dir",
    ]
    steps = {path.stem for path in (ROOT / "steps").glob("*.sh") if "help_message=" in path.read_text()}
    assert set(CALLS) == (steps | {"make_mfcc", "make_fbank"}) - set(sourced)


@pytest.mark.parametrize("step", ["compute_cmvn_stats", "forward", "align", "align_si"])
def test_options_and_marks_may_have_earlier_names(tools: StandIns, place: Path, step: str) -> None:
    assert jobs(tools, place, step, "--max-loss", "0.5") > 0
    marks = [path for path in place.rglob(f".{step}.done") if "max_dropped=0.5\n" in path.read_text()]
    assert len(marks) == 1
    earlier = marks[0].read_text().replace("max_dropped=", "max_loss=").replace("paste=", "streams=")
    marks[0].write_text(earlier)
    assert jobs(tools, place, step, "--max-dropped", "0.6") == 0
    # The limit of the mark is found by its earlier name, too: a stricter one is judged anew.
    assert jobs(tools, place, step, "--max-dropped", "0.3") == 0
    assert "max_dropped=0.3\n" in marks[0].read_text()
    if step == "compute_cmvn_stats":
        assert "paste=feats.scp\n" in marks[0].read_text()
        assert jobs(tools, place, step, "--streams", "feats.scp feats.scp") > 0
        assert "paste=feats.scp feats.scp\n" in marks[0].read_text()
