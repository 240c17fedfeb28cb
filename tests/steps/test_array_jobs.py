"""Array jobs: only what is missing is done again, and what failed is named, whatever the queue says."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pytest

from tests.recipe_lab import CALLS, CHANGES, call_of, write
from tests.shell import ROOT, fails, run, succeed
from tests.stand_ins import StandIns

#: Program of the jobs of each step, and what a call of job 2 has in its arguments.
ARRAYS = {
    "make_mfcc": ("compute-mfcc-feats", "data/split4/2/"),
    "make_fbank": ("compute-fbank-feats", "data/split4/2/"),
    "make_fmllr_feats": ("compute-fmllr-feats", "data/split4/2"),
    "align": ("align", "data/split4/2"),
    "make_soft_targets": ("make-soft-targets", "data/split4/2"),
    "forward": ("forward", "data/split4/2"),
    "make_priors": ("forward", "data/split4/2"),
    "decode": ("forward", "data/split4/2"),
    "decode_scan": ("decode-scan", "/job.2"),
    "score": ("lattice-scan", "/job.2"),
}
RESULTS = {
    "make_mfcc": "data/data/raw_mfcc_data.3.ark",
    "make_fbank": "data/data/raw_fbank_data.3.ark",
    "make_fmllr_feats": "data_fmllr/data/trans.3",
    "align": "exp/ali/ali.3.gz",
    "make_soft_targets": "exp/soft/soft.3.ark",
    "forward": "exp/post/output.3.ark",
    "make_priors": "exp/dnn/.prior_counts.3",
    "decode": "exp/dnn/decode/lat.3.gz",
    "decode_scan": "exp/dnn/scan/scoring/job.3/9_0.5.txt",
    "score": "exp/dnn/scored/scoring/job.1/9_0.5.txt",
}


def written(path: Path) -> tuple[int, int]:
    """What changes when a file is written anew."""
    state = path.stat()
    return state.st_mtime_ns, state.st_ino


def made(place: Path, result: str) -> Path:
    """Where a result is while not all jobs are through, or after."""
    (found,) = (
        path
        for path in place.rglob(Path(result).name)
        if path.parent.name == Path(result).parent.name or path.parent.parent.name.endswith(".jobs")
    )
    return found


def ranges(calls: list[list[str]]) -> list[str]:
    """The jobs that runners were asked for."""
    return [word for call in calls if call[0].endswith(".pl") for word in call if word.startswith("JOB=")]


@pytest.mark.parametrize("step", ARRAYS)
def test_only_the_job_that_was_killed_is_done_again(tools: StandIns, place: Path, step: str) -> None:
    program, whose = ARRAYS[step]
    output = fails(place, *call_of(step), KILL=f"{program} {whose}", **tools.with_kaldi)
    number = 2 if step == "score" else 4
    assert f"error: dkt {program} was killed by signal 9 (SIGKILL)" in output or "ended with" in output
    assert re.search(rf"job 2 of {number} failed, log is in \S+\.2\.log\n$", output), output
    before = written(made(place, RESULTS[step]))
    tools.calls()
    output = succeed(place, *call_of(step), **tools.with_kaldi)
    calls = tools.calls()
    assert ranges(calls)[0] == "JOB=2:2" and f"{number - 1} are done already: only job 2 now" in output
    assert sum(call[1] == program and any(whose in word for word in call) for call in calls) == 1
    assert sum(call[1] == program and "split4/3" in " ".join(call) for call in calls) == 0
    if step != "make_priors":
        assert written(place / RESULTS[step]) == before
    assert not list(place.rglob(".*.jobs"))
    assert "done already with the same options" in succeed(place, *call_of(step), **tools.with_kaldi)


@pytest.mark.parametrize("step", ARRAYS)
def test_a_result_that_is_gone_after_all_was_done_costs_one_job(
    tools: StandIns, place: Path, step: str
) -> None:
    if step in ("make_priors", "score"):
        pytest.skip("the parts are summed up or joined, and gone")
    succeed(place, *call_of(step), **tools.with_kaldi)
    tools.calls()
    (place / RESULTS[step]).unlink()
    succeed(place, *call_of(step), **tools.with_kaldi)
    assert ranges(tools.calls())[-1] == "JOB=3:3" and (place / RESULTS[step]).exists()
    assert "done already with the same options" in succeed(place, *call_of(step), **tools.with_kaldi)


@pytest.mark.parametrize("change", ["option", "number of jobs", "input", "log", "result"])
def test_jobs_of_other_options_or_inputs_or_without_log_or_result_are_not_kept(
    tools: StandIns, place: Path, change: str
) -> None:
    fails(place, *call_of("forward"), KILL="forward data/split4/2", **tools.with_kaldi)
    options = []
    expected = "JOB=1:4"
    if change == "option":
        options = ["--apply-log", "true"]
    elif change == "number of jobs":
        options, expected = ["--nj", "2"], "JOB=1:2"
    elif change == "input":
        write(place / "data/cmvn.scp", "other\n")
    elif change == "log":
        (place / "exp/post/log/forward.3.log").unlink()
        expected = "JOB=2:3"
    else:
        made(place, "exp/post/output.1.scp").write_text("cut short")
        expected = "JOB=1:2"
    tools.calls()
    command = ["steps/forward.sh", "--nj", "4", *options, *CALLS["forward"][2:]]
    succeed(place, *command, **tools.with_kaldi)
    assert ranges(tools.calls()) == [expected]


def test_scattered_jobs_are_one_call_of_dkts_runner_and_several_of_others(
    tools: StandIns, place: Path
) -> None:
    command = ["steps/forward.sh", "--cmd", "queue.pl", *CALLS["forward"]]
    succeed(place, *command, **tools.with_kaldi)
    for job in (1, 2, 4):
        (place / f"exp/post/output.{job}.ark").unlink()
    tools.calls()
    succeed(place, *command, **tools.with_kaldi)
    assert sorted(ranges(tools.calls())) == ["JOB=1:2", "JOB=4:4"]
    for job in (1, 3, 4):
        (place / f"exp/post/output.{job}.ark").unlink()
    output = succeed(place, *call_of("forward"), **tools.alone)
    assert "of 4 jobs 1 are done already: only jobs 1, 3, 4 now" in output
    assert "# dkt forward" in (place / "exp/post/log/forward.4.log").read_text()


def test_the_first_program_of_a_pipe_that_failed_is_named(tools: StandIns, place: Path) -> None:
    for variables in (tools.alone, tools.with_kaldi):
        output = fails(place, *call_of("decode"), KILL="forward split4/3", **variables)
        assert "error: dkt forward was killed by signal 9 (SIGKILL), as the system does when memory" in output
        assert "job 3 of 4 failed, log is in exp/dnn/decode/log/decode.3.log" in output
        search = "latgen-faster-mapped" if "KALDI_ROOT" in variables else "latgen"
        output = fails(place, *call_of("decode"), KILL=f"{search} decoded.3", **variables)
        assert re.search(rf"error: (dkt )?{search} was killed by signal 9", output), output
        output = fails(place, *call_of("decode"), FAIL="forward", **variables)
        assert "jobs 1, 2, 3, 4 of 4 failed" in output or "job 3 of 4 failed" in output
    # Of a single program, too.
    output = fails(place, *call_of("train_dnn"), KILL="train-dnn exp", **tools.alone)
    assert "error: dkt train-dnn was killed by signal 9 (SIGKILL)" in output and "a job failed, log" in output


@pytest.mark.parametrize("step", sorted(CALLS))
def test_a_queue_that_ran_nothing_is_told_from_data_that_are_bad(
    tools: StandIns, place: Path, step: str
) -> None:
    # What an earlier call left must not pass for what this one did.
    succeed(place, *call_of(step), **tools.with_kaldi)
    next(path for path in place.rglob(".*.done") if step in path.name).unlink()
    output = fails(place, *call_of(step), LAZY="all", **tools.with_kaldi)
    whose = r"error: (the job|jobs? [\d, ]+ of \d+) left no log \(\S+\.log\), though"
    assert re.search(whose, output), output
    assert "said that all went well: did the queue run it?" in output
    assert "awk" not in output and "max-dropped" not in output
    output = fails(place, *call_of(step), LAZY="all begun", **tools.with_kaldi)
    assert "its log has no end" in output and "The last line is: INFO (dkt x) loading" in output


def test_one_job_of_an_array_that_the_queue_forgot_is_named(tools: StandIns, place: Path) -> None:
    output = fails(place, *call_of("forward"), LAZY="3", **tools.with_kaldi)
    assert "error: job 3 of 4 left no log (exp/post/log/forward.3.log)" in output
    output = succeed(place, *call_of("forward"), **tools.with_kaldi)
    assert "only job 3 now" in output


@pytest.mark.parametrize(
    "arguments", [("steps/check_data.sh", "data"), ("steps/train_dnn.sh", *CALLS["train_dnn"][2:])]
)
def test_checks_tell_of_a_queue_that_ran_nothing(
    tools: StandIns, place: Path, arguments: tuple[str, ...]
) -> None:
    succeed(place, *arguments, **tools.with_kaldi)
    (place / "exp/net/final.pt").unlink(missing_ok=True)
    output = fails(place, *arguments, LAZY="all", **tools.with_kaldi)
    assert "the job left no log" in output and "awk" not in output and "fit to train on, log" not in output


def test_a_network_disk_may_show_a_mark_late(tools: StandIns, place: Path) -> None:
    runner = tools.kaldi / "egs/wsj/s5/utils/run.pl"
    late = "import os, time\nif os.fork():\n    os._exit(0)\ntime.sleep(1)\n"
    runner.write_text(
        runner.read_text()
        .replace("failed = 0\n", f"failed = 0\n{late}")
        .replace("sys.exit(failed > 0)", "sys.exit(0)")
    )
    call = call_of("compute_cmvn_stats")
    assert "did the queue run it?" in fails(place, *call, **tools.with_kaldi)
    began = time.monotonic()
    succeed(place, *call, **tools.with_kaldi | {"DKT_DISK_WAIT": "60"})
    assert time.monotonic() - began < 10
    output = fails(place, *call, **tools.with_kaldi | {"DKT_DISK_WAIT": "1h"})
    assert "DKT_DISK_WAIT is '1h', expected seconds, 0 to 9999" in output


def test_dkts_runner_takes_a_list_of_jobs(tmp_path: Path) -> None:
    runner = str(ROOT / "steps/utils/run.pl")
    done = run(tmp_path, runner, "JOB=1,4:5,9", "x.JOB.log", "echo", "saw", "JOB")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("*.log")} == {"x.1.log", "x.4.log", "x.5.log", "x.9.log"}
    assert "saw 9\n" in (tmp_path / "x.9.log").read_text()
    done = run(tmp_path, runner, "JOB=1,4:3", "x.JOB.log", "true")
    assert done.returncode == 1 and "invalid job range 'JOB=1,4:3'" in done.stderr


def test_a_late_job_of_an_earlier_call_does_not_stand_for_this_one(tools: StandIns, place: Path) -> None:
    """A queue whose jobs survive the step that was stopped, and run beside those of the next call."""
    runner = tools.kaldi / "egs/wsj/s5/utils/late.pl"
    text = tools.kaldi.joinpath("egs/wsj/s5/utils/run.pl").read_text()
    # The first call submits and is stopped; the second runs, and then what the first has submitted.
    first = (
        "late = Path('late')\n"
        "if not late.exists():\n    late.write_text(json.dumps(sys.argv[1:])); sys.exit(1)\n"
    )
    after = (
        "\nwords = json.loads(late.read_text())\n"
        "if words != ['through']:\n"
        "    late.write_text(json.dumps(['through']))\n"
        "    subprocess.call([sys.argv[0], *words])\n"
    )
    head, rest = text.split("name, argv = ", 1)
    write(runner, f"{head}{first}name, argv = {rest.replace('sys.exit(failed', after + 'sys.exit(failed')}")
    runner.chmod(0o755)
    program = tools.kaldi.parent / "bin/dkt"
    program.write_text(
        program.read_text().replace(
            "    write(args[2], utterances(args[1]))",
            "    write(args[2], [f'{u} {options.get(\"apply-log\")}' for u in utterances(args[1])])",
        )
    )
    late = ["--cmd", "late.pl", "--apply-log"]
    fails(place, *call_of("forward", *late, "true"), **tools.with_kaldi)
    succeed(place, *call_of("forward", *late, "false"), **tools.with_kaldi)
    texts = [(place / f"exp/post/output.{job}.ark").read_text() for job in (1, 2, 3, 4)]
    assert "false" in "".join(texts) and "true" not in "".join(texts)
    assert "apply_log=false" in (place / "exp/post/.forward.done").read_text()


@pytest.mark.parametrize("step", sorted(set(ARRAYS) - {"score"}))
def test_what_is_finished_stays_until_what_replaces_it_is_whole(
    tools: StandIns, place: Path, step: str
) -> None:
    succeed(place, *call_of(step), **tools.with_kaldi)
    before = {
        path: path.read_bytes() for path in place.rglob("*") if path.is_file() and path.suffix != ".log"
    }
    write(place / "data/cmvn.scp" if not step.startswith("make_m") else place / "audio.wav", "a other\n")
    write(place / "conf/fbank.conf", "other\n")
    changed = {place / "data/cmvn.scp", place / "audio.wav", place / "conf/fbank.conf"}
    fails(place, *call_of(step), FAIL=ARRAYS[step][0], **tools.with_kaldi)
    if step == "make_fmllr_feats":
        # The alignments of the first pass, which the mark tells of too, are replaced: they are whole.
        changed.add(place / "data_fmllr/.make_fmllr_feats.done")
    after = {path: path.read_bytes() for path in before if path.exists() and path not in changed}
    assert after == {
        path: data for path, data in before.items() if path not in changed and "split4" not in str(path)
    } | {path: data for path, data in after.items() if "split4" in str(path)}


@pytest.mark.parametrize(
    ("step", "program", "mark"),
    [
        ("forward", "forward", "exp/post/.forward.done"),
        ("compute_cmvn_stats", "compute-cmvn-stats", "data/.compute_cmvn_stats.done"),
    ],
)
def test_a_limit_is_of_the_verdict_and_not_of_the_jobs(
    tools: StandIns, place: Path, step: str, program: str, mark: str
) -> None:
    told = "INFO PROGRAM some: 9 utterances done, 1 dropped; 1 (a-1): no features"
    variables = {**tools.with_kaldi, "TELLS": program, "TELL": told}
    output = fails(place, *call_of(step, "--max-dropped", "0.05"), **variables)
    assert "over --max-dropped (0.05)" in output
    tools.calls()
    succeed(place, *call_of(step, "--max-dropped", "0.2"), **variables)
    assert not ranges(tools.calls())
    # Looser: nothing to do; stricter: judged anew, from the logs.
    before = (place / mark).read_text()
    assert "done already with" in succeed(place, *call_of(step, "--max-dropped", "0.3"), **variables)
    assert "over --max-dropped (0.01)" in fails(place, *call_of(step, "--max-dropped", "0.01"), **variables)
    assert "done already with" in succeed(place, *call_of(step, "--max-dropped", "0.15"), **variables)
    assert not [call for call in tools.calls() if call[0].endswith(".pl")]
    assert "max_dropped=0.15" in (place / mark).read_text() != before


def test_jobs_of_before_a_stage_was_told_to_be_done_again_do_not_count(tools: StandIns, place: Path) -> None:
    fails(place, *call_of("forward"), KILL="forward data/split4/2", **tools.with_kaldi)
    since = place / "since"
    write(since, "")
    tools.calls()
    # A second later: some disks keep times so coarsely.
    moment = since.stat().st_mtime + 1
    os.utime(since, (moment, moment))
    variables = {**tools.with_kaldi, "DKT_REDO_SINCE": str(since)}
    assert "are done already" not in fails(
        place, *call_of("forward"), KILL="forward data/split4/2", **variables
    )
    assert ranges(tools.calls()) == ["JOB=1:4"]


def test_what_a_failed_job_wrote_takes_no_room(tools: StandIns, place: Path) -> None:
    fails(place, *call_of("forward"), FAIL="forward", **tools.with_kaldi)
    assert not [path for path in place.rglob("output.*") if path.is_file()]


@pytest.mark.parametrize(
    "step", ["forward", "make_mfcc", "make_soft_targets", "make_fmllr_feats", "align", "decode"]
)
def test_what_more_jobs_left_is_removed(tools: StandIns, place: Path, step: str) -> None:
    succeed(place, *call_of(step), **tools.with_kaldi)
    fewer = ["2" if word == "4" else word for word in call_of(step)]
    succeed(place, *fewer, **tools.with_kaldi)
    assert [path for path in place.rglob("*.[34].*") if "split4" not in str(path)] == []


STAGES = [
    (step, stage)
    for step, last in {"make_fmllr_feats": 2, "prepare_lang": 3}.items()
    for stage in range(last + 1)
] + [(step, stage) for step in sorted(set(CALLS) - {"make_fmllr_feats", "prepare_lang"}) for stage in (0, 1)]


@pytest.mark.parametrize(("step", "stage"), STAGES)
def test_every_stage_that_is_told_works(tools: StandIns, place: Path, step: str, stage: int) -> None:
    succeed(place, *call_of(step), **tools.with_kaldi)
    tools.calls()
    # With other options, which a step that begins with its first stage would do it again for.
    options = CHANGES[step][0] if stage > (step == "prepare_lang") else []
    succeed(place, *call_of(step, *options, "--stage", str(stage)), **tools.with_kaldi)
    later = {("make_fmllr_feats", 1): 1, ("prepare_lang", 2): 2, ("prepare_lang", 3): 1}
    assert sum(words[0] == "run.pl" for words in tools.calls()) == later.get((step, stage), 0)


@pytest.mark.parametrize("step", sorted(path.stem for path in (ROOT / "steps").glob("*.sh")))
def test_a_step_tells_what_its_stages_are(tmp_path: Path, step: str) -> None:
    if step == "make_feats":  # which make_mfcc.sh and make_fbank.sh call
        return
    usage = succeed(tmp_path, f"steps/{step}.sh", "--help")
    assert re.search(r"--stage( <n>.*\d: |, --cmd, .*as of train_dnn.sh)", usage, re.DOTALL)


def test_jobs_do_not_count_that_read_what_other_options_made(tools: StandIns, place: Path) -> None:
    succeed(place, *call_of("make_fmllr_feats", "--beam", "5"), **tools.with_kaldi)
    # The features of these alignments are not those of a first pass with this beam.
    succeed(place, *call_of("make_fmllr_feats", "--stage", "1", "--beam", "6"), **tools.with_kaldi)
    tools.calls()
    succeed(place, *call_of("make_fmllr_feats", "--beam", "6"), **tools.with_kaldi)
    assert ranges(tools.calls()) == ["JOB=1:4", "JOB=1:4"]


def test_logs_of_a_call_that_failed_do_not_judge_the_results_of_another(tools: StandIns, place: Path) -> None:
    told = "INFO PROGRAM some: 9 utterances done, {} dropped; {} (a-1): no features"
    lossy = {**tools.with_kaldi, "TELLS": "forward", "TELL": told.format(1, 1)}
    succeed(place, *call_of("forward", "--max-dropped", "0.2"), **lossy)
    # Other options, without losses; its logs take the places of those of the results, which stay.
    fails(place, *call_of("forward", "--apply-log", "true"), KILL="forward data/split4/2", **tools.with_kaldi)
    tools.calls()
    output = fails(place, *call_of("forward", "--max-dropped", "0.01"), **lossy)
    assert "forward: some" not in output and "over --max-dropped (0.01)" in output
    assert ranges(tools.calls()) == ["JOB=1:4"]


def test_a_call_that_does_a_stage_again_and_is_killed_leaves_nothing_of_before(
    tools: StandIns, place: Path
) -> None:
    fails(place, *call_of("forward"), KILL="forward data/split4/2", **tools.with_kaldi)
    since = place / "since"
    write(since, "")
    moment = since.stat().st_mtime + 1
    os.utime(since, (moment, moment))
    fails(place, *call_of("forward"), FAIL="forward", DKT_REDO_SINCE=str(since), **tools.with_kaldi)
    tools.calls()
    succeed(place, *call_of("forward"), **tools.with_kaldi)
    assert ranges(tools.calls()) == ["JOB=1:4"]


def test_priors_are_judged_by_the_logs_of_the_jobs_that_made_them(tools: StandIns, place: Path) -> None:
    # One job of four loses much.
    told = "INFO PROGRAM some: 9 utterances done, {} dropped; 1 (a-1): no features"
    succeed(place, *call_of("make_priors", "--max-dropped", "0.2"), **tools.with_kaldi)
    log = place / "exp/dnn/log/prior_stats.4.log"
    moment = log.stat()
    write(log, told.format(9).replace("PROGRAM", "(dkt forward)") + "\n")
    os.utime(log, ns=(moment.st_atime_ns, moment.st_mtime_ns))
    for nj in ("2", "8"):
        call = ["steps/make_priors.sh", "--nj", nj, "--max-dropped", "0.1", "data", "exp/dnn"]
        assert "over --max-dropped (0.1)" in fails(place, *call, **tools.with_kaldi)
    write(place / "data/cmvn.scp", "other\n")
    succeed(place, "steps/make_priors.sh", "--nj", "2", "data", "exp/dnn", **tools.with_kaldi)
    assert not log.exists()


@pytest.mark.parametrize(
    ("step", "joined"),
    [
        ("forward", "exp/post/feats.scp"),
        ("decode", "exp/dnn/decode/num_jobs"),
        ("decode_scan", "exp/dnn/scan/num_jobs"),
        ("align", "exp/ali/num_jobs"),
        ("make_mfcc", "data/feats.scp"),
        ("make_soft_targets", "exp/soft/soft.scp"),
    ],
)
def test_a_step_that_is_killed_as_results_get_their_names_leaves_no_mixture(
    tools: StandIns, place: Path, step: str, joined: str
) -> None:
    succeed(place, *call_of(step), **tools.with_kaldi)
    write(place / ("audio.wav" if step == "make_mfcc" else "data/cmvn.scp"), "a other\n")
    result = place / RESULTS[step]
    wanted = result.parent if step == "decode_scan" else result
    # In place of mv: kills the step at the result of job 3.
    program = tools.kaldi.parent / "bin/mv"
    kill = 'if [ "${!#}" = "$STOP" ]; then kill -KILL $PPID; exit 1; fi'
    write(program, f'#!/bin/bash\n{kill}\nexec {shutil.which("mv")} "$@"\n')
    program.chmod(0o755)
    absolute = step in ("forward", "make_mfcc")
    stop = str(wanted if absolute else wanted.relative_to(place))
    assert run(place, *call_of(step), STOP=stop, **tools.with_kaldi).returncode != 0
    assert not (place / joined).exists() and not wanted.exists()
    # What is there is not joined, and jobs that were through are not done again.
    if step == "decode_scan":
        assert "num_jobs" in fails(
            place, "steps/score.sh", "data", "exp/graph", "exp/dnn/scan", **tools.with_kaldi
        )
    elif step != "make_soft_targets":
        # Of which the program, for which something stands in here, sees to it.
        fails(place, *call_of(step, "--stage", "1"), **tools.with_kaldi)
    tools.calls()
    succeed(place, *call_of(step), **tools.with_kaldi)
    assert ranges(tools.calls()) == [] and (place / joined).exists() and wanted.exists()


@pytest.mark.parametrize("step", ["compute_cmvn_stats", "score"])
def test_a_name_that_runners_would_replace_is_refused(tools: StandIns, place: Path, step: str) -> None:
    (place / "data").rename(place / "myJOBs")
    call = ["myJOBs" if word == "data" else word for word in call_of(step)]
    assert "'myJOBs' holds JOB, which run.pl replaces" in fails(place, *call, **tools.with_kaldi)


def test_links_to_other_disks_stay_and_other_links_are_replaced(tools: StandIns, place: Path) -> None:
    names = [place / f"data/data/raw_mfcc_data.{job}.ark" for job in (1, 2)]
    write(place / "data/data/storage/1/some.ark", "of before")
    write(place / "elsewhere.ark", "of somebody else")
    names[0].symlink_to("storage/1/some.ark")
    names[1].symlink_to(place / "elsewhere.ark")
    succeed(place, *call_of("make_mfcc"), **tools.with_kaldi)
    assert names[0].is_symlink() and names[0].read_text() == "a-1\na-2\n"
    assert not names[1].is_symlink() and names[1].read_text() == "b-1\nb-2\n"
    assert (place / "elsewhere.ark").read_text() == "of somebody else"
    tools.calls()
    assert "done already" in succeed(place, *call_of("make_mfcc"), **tools.with_kaldi)


def test_a_job_that_still_writes_does_not_stop_the_step(tools: StandIns, place: Path) -> None:
    """A directory that is written in, or has files open on a disk of the network, cannot be removed."""
    program = tools.kaldi.parent / "bin/rm"
    busy = '[[ -d $x && $x == */.forward.jobs* ]] && echo "rm: $x: Device or resource busy" >&2 && exit 1'
    write(program, f'#!/bin/bash\nfor x; do {busy}; done\nexec {shutil.which("rm")} "$@"\n')
    program.chmod(0o755)
    fails(place, *call_of("forward"), LAZY="2", **tools.with_kaldi)
    output = succeed(place, *call_of("forward", "--apply-log", "true"), **tools.with_kaldi)
    assert "busy" not in output and (place / "exp/post/.forward.done").exists()
    output = succeed(place, *call_of("forward", "--apply-log", "true"), **tools.with_kaldi)
    assert "done already with the same options" in output


def test_what_an_earlier_dkt_has_made_is_not_done_again(tools: StandIns, place: Path) -> None:
    succeed(place, *call_of("make_fmllr_feats"), **tools.with_kaldi)
    mark = place / "data_fmllr/.make_fmllr_feats.done"
    lines = mark.read_text().splitlines(keepends=True)
    assert sum("first_pass_ali" in line for line in lines) == 4
    mark.write_text("".join(line for line in lines if "first_pass_ali" not in line))
    tools.calls()
    output = succeed(place, *call_of("make_fmllr_feats"), **tools.with_kaldi)
    assert "done already with the same options" in output and not ranges(tools.calls())
    # What is done again is told of as it is now.
    (place / "data_fmllr/data/trans.3").unlink()
    succeed(place, *call_of("make_fmllr_feats"), **tools.with_kaldi)
    assert sum("first_pass_ali" in line for line in mark.read_text().splitlines()) == 4
    # Parts that were not summed up.
    write(place / "exp/dnn/.prior_counts.7", "[ 1 ]\n")
    succeed(place, *call_of("make_priors"), **tools.with_kaldi)
    assert not list(place.rglob(".prior_counts.*"))
