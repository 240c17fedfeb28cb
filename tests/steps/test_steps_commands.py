"""The command lines of the steps and what they make of their jobs, with stand-ins for all that computes."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from tests.shell import ROOT, fails, succeed
from tests.stand_ins import StandIns

UTTS = ("a-1", "a-2", "b-1", "b-2")
DECODE = ("steps/decode.sh", "--nj", "1", "exp/graph", "data", "exp/dnn/decode")
#: One point is scored, not 36.
QUICK = ("steps/decode.sh", "--scoring-opts", "--lmwts 9 --word-ins-penalties 0.5", *DECODE[1:])
#: Scored by the script of the recipe, if there is one.
KALDI_SCORED = ("steps/decode.sh", "--scoring-opts", "", *DECODE[1:])
ALIGN = ("steps/align.sh", "--nj", "1", "data", "lang", "exp/dnn", "exp/ali")
PRIORS = ("steps/make_priors.sh", "--nj", "1", "data", "exp/dnn")
FORWARD = ("steps/forward.sh", "--nj", "1", "data", "exp/dnn", "exp/post")
SOFT = ("steps/make_soft_targets.sh", "--nj", "1", "data", "exp/dnn", "exp/soft")
CHECK = ("steps/check_data.sh", "data", "lang", "exp/gmm_ali")
TRAINING = ("data", "data", "lang", "exp/gmm_ali", "exp/gmm_ali", "exp/net")
DNN = ("steps/train_dnn.sh", "--skip-check", "true", *TRAINING)
LSTM = ("steps/train_lstm.sh", "--skip-check", "true", *TRAINING)
EVERY = {"decode": QUICK, "align": ALIGN, "priors": PRIORS, "forward": FORWARD, "soft": SOFT}
NNET = ("steps/train_nnet.sh", "--skip-check", "true", "--nnet-config", "conf/nnet.yaml", *TRAINING)
EVERY |= {"check": CHECK, "dnn": DNN, "lstm": LSTM, "nnet": NNET}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with all that the steps look for."""
    path = tmp_path / "recipe"
    for name in ("feats.scp", "text", "utt2spk"):
        value = "{0}" if name == "utt2spk" else "x"
        write(path / "data" / name, "".join(f"{utt} {value.format(utt[0])}\n" for utt in UTTS))
    for name in ("exp/graph/HCLG.fst", "lang/L.fst", "lang/words.txt", "lang/oov.txt", "exp/graph/words.txt"):
        write(path / name, "x\n")
    for directory in ("exp/graph", "lang", "exp/dnn", "exp/gmm_ali"):
        write(path / directory / "phones.txt", f"<eps> 0\nA 1\n#{len(directory)} 2\n")
    for name in (
        "dnn/final.pt",
        "dnn/final.mdl",
        "dnn/tree",
        "dnn/ali_train_pdf.counts",
        "gmm_ali/final.mdl",
    ):
        write(path / "exp" / name, "x")
    write(path / "exp/gmm_ali/num_jobs", "1\n")
    write(path / "conf/nnet.yaml", "network: {type: gru}\n")
    return path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def command_of(calls: list[list[str]], *name: str) -> list[str]:
    """The one call of a program, without the name."""
    (found,) = (call for call in calls if call[: len(name)] == list(name))
    return found[len(name) :]


SEARCH = [
    "--min-active=200",
    "--max-active=7000",
    "--max-mem=50000000",
    "--beam=13.0",
    "--lattice-beam=8.0",
    "--acoustic-scale=0.1",
    "--allow-partial=true",
    "--word-symbol-table=exp/graph/words.txt",
    "exp/dnn/final.mdl",
    "exp/graph/HCLG.fst",
    "ark:-",
]
LATTICES = ["ark:-", "ark,t:exp/dnn/decode/.decoded.1"]
NETWORK = [
    "--no-softmax=true",
    "--class-frame-counts=exp/dnn/ali_train_pdf.counts",
    "--use-gpu=no",
    "--num-threads=1",
    "--max-dropped=1",
    "exp/dnn/final.pt",
    "data/split1/1",
    "ark:-",
]


def test_decoding_with_kaldi_calls_its_search_and_the_scoring_of_the_recipe(
    tools: StandIns, place: Path
) -> None:
    write(place / "local/score.sh", '#!/bin/bash\nprintf "%s|" "$@" >score_call\n')
    (place / "local/score.sh").chmod(0o755)
    command = ["steps/decode.sh", "--nj", "1", "--cmd", "queue.pl --mem 4G", *DECODE[3:]]
    output = succeed(place, *command, **tools.with_kaldi)
    calls = tools.calls()
    assert [call[0] for call in calls].count("dkt") == 1
    assert command_of(calls, "dkt", "forward") == NETWORK
    assert command_of(calls, "latgen-faster-mapped") == SEARCH + LATTICES
    queue = command_of(calls, "queue.pl")
    assert queue[:6] == ["--mem", "4G", "--num-threads", "2", "JOB=1:1", "exp/dnn/decode/log/decode.JOB.log"]
    assert queue[6:10] == ["set", "-o", "pipefail", ";"]
    scoring = "--min-lmwt|4|--max-lmwt|15|--cmd|queue.pl --mem 4G|data|exp/graph|exp/dnn/decode|"
    assert (place / "score_call").read_text() == scoring
    assert f"decoding data by {tools.latgen}" in output and "4 of 4 utterances have a lattice" in output
    assert gzip.decompress((place / "exp/dnn/decode/lat.1.gz").read_bytes()).split() == [
        u.encode() for u in UTTS
    ]
    assert (place / "exp/dnn/decode/num_jobs").read_text() == "1\n"
    assert "steps/decode.sh: lattices of data in exp/dnn/decode" in output


def test_decoding_without_kaldi_calls_dkts_search_and_scores_the_lattices(
    tools: StandIns, place: Path
) -> None:
    output = succeed(place, *DECODE, **tools.alone)
    calls = tools.calls()
    assert command_of(calls, "dkt", "latgen") == ["--max-dropped=1", *SEARCH, *LATTICES]
    weights = " ".join(map(str, range(4, 16)))
    assert command_of(calls, "dkt", "lattice-scan") == [
        f"--lmwts={weights}",
        "--word-ins-penalties=0.0 0.5 1.0",
        "--max-dropped=1",
        "ark:exp/dnn/decode/lat.1.gz",
        "exp/graph/words.txt",
        "exp/dnn/decode/scoring/job.1",
    ]
    assert "decoding data by dkt latgen" in output
    assert len(list((place / "exp/dnn/decode").glob("wer_*"))) == 36
    assert (place / "exp/dnn/decode/wer_15_0.5").exists()
    assert (place / "exp/dnn/decode/scoring_kaldi/best_wer").read_text() == "%WER 10.00\n"


def test_a_gmm_is_decoded_at_its_own_scale_and_scored_at_kaldis_weights(tools: StandIns, place: Path) -> None:
    write(place / "exp/gmm/final.mdl", "x")
    succeed(place, *DECODE[:-1], "exp/gmm/decode", **tools.alone)
    calls = tools.calls()
    scores = ["--max-dropped=1", "exp/gmm/final.mdl", "data/split1/1", "ark:-"]
    assert command_of(calls, "dkt", "gmm-compute-likes") == scores
    assert "--acoustic-scale=0.083333" in command_of(calls, "dkt", "latgen")
    scanned = command_of(calls, "dkt", "lattice-scan")[0]
    assert scanned == "--lmwts=" + " ".join(map(str, range(7, 18)))


@pytest.mark.parametrize(
    ("options", "with_kaldi", "expected"),
    [
        (["--latgen", "dkt"], True, "by dkt latgen"),
        (
            ["--latgen", "kaldi"],
            False,
            "error: no latgen-faster-mapped on PATH: make it, or say --latgen dkt",
        ),
        (["--latgen", "htk"], True, "error: --latgen is 'htk', expected auto, kaldi or dkt"),
        (["--num-threads", "auto"], False, "error: --num-threads is 'auto', expected a number above 0"),
        (["--num-threads", "0"], False, "error: --num-threads is '0', expected a number above 0"),
        (
            ["--num-threads", "3", "--latgen", "kaldi"],
            True,
            "error: no latgen-faster-mapped-parallel on PATH",
        ),
    ],
)
def test_which_search_is_asked_for(
    tools: StandIns, place: Path, options: list[str], with_kaldi: bool, expected: str
) -> None:
    variables = tools.with_kaldi if with_kaldi else tools.alone
    call = fails if "error" in expected else succeed
    assert expected in call(place, "steps/decode.sh", *options, *QUICK[1:], **variables)


@pytest.mark.parametrize(("number", "said"), [("1", []), ("3", ["--num-threads=3"])])
def test_threads_are_asked_of_the_search_and_of_the_queue(
    tools: StandIns, place: Path, number: str, said: list[str]
) -> None:
    command = ["steps/decode.sh", "--nj", "1", "--cmd", "queue.pl", "--latgen", "dkt", "--num-threads"]
    succeed(place, *command, number, *DECODE[3:], **tools.with_kaldi)
    calls = tools.calls()
    assert command_of(calls, "dkt", "latgen") == ["--max-dropped=1", *said, *SEARCH, *LATTICES]
    # One more for the network.
    queue = next(call for call in calls if call[0] == "queue.pl")
    assert queue[1:4] == ["--num-threads", str(int(number) + 1), "JOB=1:1"]
    # Lattices do not depend on it: with another number they are not made again.
    succeed(place, *command, "2", *DECODE[3:], **tools.with_kaldi)
    assert not [call for call in tools.calls() if call[:2] == ["dkt", "latgen"]]


@pytest.mark.parametrize("directory", ["src/bin", "src/latbin"])
def test_the_search_of_kaldi_is_found_where_it_was_built(
    tools: StandIns, place: Path, directory: str
) -> None:
    program = tools.kaldi / directory / tools.latgen.name
    program.parent.mkdir(exist_ok=True)
    tools.latgen.rename(program)
    assert f"decoding data by {program}" in succeed(place, *QUICK, **tools.with_kaldi)


def test_a_kaldi_that_has_no_search_is_no_error(tools: StandIns, place: Path) -> None:
    tools.latgen.unlink()
    assert "by dkt latgen" in succeed(place, *QUICK, **tools.with_kaldi)


def test_utterances_without_a_lattice_are_named_and_limited_over_all_jobs(
    tools: StandIns, place: Path
) -> None:
    command = ["steps/decode.sh", "--nj", "2", "--skip-scoring", "true", *DECODE[3:]]
    output = fails(place, *command, LOSE="a-2", **tools.with_kaldi)
    assert "steps/decode.sh: 3 of 4 utterances have a lattice" in output and "without one: a-2\n" in output
    assert "over --max-dropped (0.05), their names are in exp/dnn/decode/log/no_lattice" in output
    # One of four is half of its job.
    output = succeed(place, command[0], "--max-dropped", "0.25", *command[1:], LOSE="a-2", **tools.with_kaldi)
    assert (place / "exp/dnn/decode/log/no_lattice").read_text() == "a-2\n"
    write(place / "data/feats.scp", "".join(f"{utt} x\n" for utt in UTTS[1:]))
    output = fails(place, *command, **tools.with_kaldi)
    assert "without one: a-1\n" in output


@pytest.mark.parametrize("program", ["forward", "latgen-faster-mapped"])
def test_a_job_that_fails_leaves_no_lattices(tools: StandIns, place: Path, program: str) -> None:
    """Kaldi's runners see the status of the last program of a pipe alone."""
    succeed(place, *QUICK, **tools.with_kaldi)
    before = (place / "exp/dnn/decode/lat.1.gz").read_bytes()
    output = fails(place, "steps/decode.sh", "--beam", "9", *QUICK[1:], FAIL=program, **tools.with_kaldi)
    assert f"{program} ended with status 1; the last line of its log is: " in output
    assert " - a job failed, log is in exp/dnn/decode/log/decode.1.log" in output
    # Those of before stay, and are not taken for the ones of this call.
    assert (place / "exp/dnn/decode/lat.1.gz").read_bytes() == before
    tools.calls()
    succeed(place, "steps/decode.sh", "--beam", "9", *QUICK[1:], **tools.with_kaldi)
    assert "--beam=9" in command_of(tools.calls(), "latgen-faster-mapped")


FULL = 'echo "gzip: stdout: No space left on device" >&2; exit 1'


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (FULL, "/lat.1.gz' cannot be written: No space left on device - a job"),
        ("kill -9 $$", "gzip_to.sh was killed by signal 9 (SIGKILL)"),
        # What a disk did that told nothing of it.
        (
            'if [ "$1" = -c ]; then /bin/gzip -c | head -c 15; else exec /bin/gzip "$@"; fi',
            "unexpected end of",
        ),
    ],
)
def test_lattices_that_cannot_be_written(tools: StandIns, place: Path, program: str, message: str) -> None:
    stub = tools.calls_file.parent / "bin/gzip"
    write(stub, f"#!/bin/bash\n{program}\n")
    stub.chmod(0o755)
    for variables in (tools.alone, tools.with_kaldi):
        output = fails(place, *DECODE, **variables)
        (error,) = (line for line in output.splitlines() if line.startswith("steps/decode.sh: error: "))
        assert message in error and "log is in exp/dnn/decode/log/decode.1.log" in error
        assert not list((place / "exp/dnn/decode").glob("lat.*"))
    stub.unlink()
    succeed(place, *QUICK, **tools.alone)


def test_priors_of_posteriors_come_before_counts_of_labels(tools: StandIns, place: Path) -> None:
    succeed(place, *QUICK, **tools.alone)
    output = succeed(place, "steps/make_priors.sh", "--nj", "2", "data", "exp/dnn", **tools.alone)
    assert (place / "exp/dnn/prior_counts").read_text() == "[ 4 0.5 ]\n"
    assert "priors in exp/dnn/prior_counts" in output
    calls = tools.calls()
    parts = sorted(call[-2] for call in calls if call[1] == "forward")
    assert parts == ["data/split1/1", "data/split2/1", "data/split2/2"]
    assert sorted(path.name for path in (place / "exp/dnn").glob(".prior*")) == []
    succeed(place, *QUICK, **tools.alone)
    succeed(place, *ALIGN, **tools.alone)
    forward = [call for call in tools.calls() if call[1] == "forward"]
    assert len(forward) == 2 and all("--class-frame-counts=exp/dnn/prior_counts" in call for call in forward)
    own = ["--class-frame-counts", "exp/dnn/ali_train_pdf.counts"]
    succeed(place, "steps/decode.sh", *own, *QUICK[1:], **tools.alone)
    assert command_of(tools.calls(), "dkt", "forward") == NETWORK


def test_priors_are_of_some_utterances_of_large_data(tools: StandIns, place: Path) -> None:
    command = ["steps/make_priors.sh", "--nj", "1", "--num-utts", "3"]
    succeed(place, *command, "data", "exp/dnn", **tools.alone)
    assert (place / "exp/dnn/prior_counts").read_text() == "[ 3 0.25 ]\n"
    assert not (place / "exp/dnn/.prior_data").exists()
    output = fails(place, *command, "--seed", "1", "data", "exp/dnn", FAIL="forward", **tools.with_kaldi)
    assert "a job failed, log is in exp/dnn/log/prior_stats.1.log" in output
    # Those of before stay, and are not taken for the ones of this call.
    assert (place / "exp/dnn/prior_counts").read_text() == "[ 3 0.25 ]\n"
    assert "done already with" in succeed(place, *command, "data", "exp/dnn", **tools.alone)
    output = succeed(place, *command, "--seed", "1", "data", "exp/dnn", **tools.alone)
    assert "done already" not in output and (place / "exp/dnn/.backup/prior_counts").exists()
    for wrong in ("0", "all", "1e3"):
        output = fails(place, PRIORS[0], "--num-utts", wrong, *PRIORS[1:], **tools.alone)
        assert f"--num-utts is '{wrong}', expected a number above 0" in output


@pytest.mark.parametrize("wrong", ["0", "-1", "1e3", "nan", "10001", "99999999999999999999"])
def test_numbers_of_jobs(tools: StandIns, place: Path, wrong: str) -> None:
    for step, *_, data, model, target in (FORWARD, SOFT, DECODE):
        output = fails(place, step, "--nj", wrong, data, model, target, **tools.alone)
        assert f"--nj is '{wrong}', expected a number above 0, at most 10000" in output


def test_the_subset_of_a_data_directory_is_the_same_for_a_seed(place: Path) -> None:
    step = "steps/utils/subset_data_dir.sh"
    write(place / "data/cmvn.scp", "a x\nb x\n")
    write(place / "data/pitch.scp", "".join(f"{utt} x\n" for utt in UTTS))
    chosen = set()
    for seed in range(8):
        for name in ("one", "two"):
            assert succeed(place, step, "--seed", str(seed), "data", "2", name) == ""
        keys = [line.split()[0] for line in (place / "one/utt2spk").read_text().splitlines()]
        assert len(keys) == 2 and keys == sorted(keys)
        chosen.add(tuple(keys))
        for name in ("utt2spk", "feats.scp", "text", "pitch.scp", "cmvn.scp", "spk2utt"):
            assert (place / "one" / name).read_text() == (place / "two" / name).read_text()
        assert (place / "one/pitch.scp").read_text().split()[::2] == keys
        speakers = sorted({key[0] for key in keys})
        assert (place / "one/cmvn.scp").read_text().split()[::2] == speakers
        shutil.rmtree(place / "one")
        shutil.rmtree(place / "two")
    assert len(chosen) > 1


def test_an_alignment_by_a_network_leaves_the_files_of_kaldis(tools: StandIns, place: Path) -> None:
    write(place / "exp/ali/ali.3.gz", "of an earlier run")
    output = succeed(place, "steps/align.sh", "--nj", "2", *ALIGN[3:], **tools.with_kaldi)
    assert "steps/align.sh: alignments of data in exp/ali, logs in exp/ali/log" in output
    files = {path.name for path in (place / "exp/ali").iterdir() if not path.name.startswith(".")}
    assert files == {"ali.1.gz", "ali.2.gz", "num_jobs", "final.mdl", "tree", "phones.txt", "log"}
    assert (place / "exp/ali/num_jobs").read_text() == "2\n"
    assert [(place / f"exp/ali/ali.{job}.gz").read_text() for job in (1, 2)] == ["a-1 a-2", "b-1 b-2"]
    calls = tools.calls()
    (align,) = (call for call in calls if call[:2] == ["dkt", "align"] and call[-1].endswith("1"))
    assert align[2:7] == ["--nj=1", "--beam=10", "--retry-beam=40", "--oov-policy=map", "--max-dropped=1"]
    network = [word.replace("split1", "split2") for word in NETWORK]
    assert ["dkt", "forward", *network] in calls
    # The limits are on all jobs together.
    assert align[7:9] == ["--max-oov=1", "--allow-implausible"]
    assert align[9] == "--loglikes=ark:-"
    assert align[10:] == ["data/split2/1", "lang", "exp/dnn", "exp/ali/1"]
    assert "align into one of its own" in fails(place, *ALIGN[:-1], "exp/dnn", **tools.alone)


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("train-mono", ["steps/train_mono.sh", "data", "lang", "exp/mono"]),
        ("align", ["steps/align_si.sh", "data", "lang", "exp/gmm", "exp/si_ali"]),
        ("analyze-alignments", list(ALIGN)),
    ],
)
def test_what_an_alignment_looks_like_is_told_on_the_terminal(
    tools: StandIns, place: Path, program: str, command: list[str]
) -> None:
    write(place / "lang/topo", "topo")
    write(place / "data/cmvn.scp", "a x\n")
    for name in ("final.mdl", "tree"):
        write(place / "exp/gmm" / name, name)
    told = (
        "INFO PROGRAM alignment: data: 9 % silence\nWARNING PROGRAM alignment: data: long phones - cut pauses"
    )
    limits = ["--max-oov", "0.2", "--allow-implausible", "true"]
    output = succeed(place, command[0], *limits, *command[1:], **tools.alone, TELLS=program, TELL=told)
    assert (
        f"{command[0]}: data: 9 % silence\n{command[0]}: warning: data: long phones - cut pauses\n" in output
    )
    called = command_of(tools.calls(), "dkt", program)
    assert {"--max-oov=0.2", "--allow-implausible=true"} <= set(called)


def test_a_training_is_checked_with_its_own_options(tools: StandIns, place: Path) -> None:
    command = ["steps/train_dnn.sh", "data", "dev", "lang", "exp/gmm_ali", "exp/dev_ali", "exp/new"]
    for file in ("dev/feats.scp", "dev/utt2spk"):
        write(place / file, "a-1 x\n")
    write(place / "dnn.yaml", "features: {splice: 2}\n")
    for ali in ("exp/gmm_ali", "exp/dev_ali"):
        for file in ("final.mdl", "num_jobs"):
            write(place / ali / file, "1\n")
    options = ["--dnn-config", "dnn.yaml", "--transform-dir", "exp/t", "--ivectors-dev", "exp/i"]
    (place / "exp/t").mkdir()
    (place / "exp/i").mkdir()
    succeed(place, command[0], *options, *command[1:], **tools.alone)
    train, dev = (call[2:] for call in tools.calls() if call[:2] == ["dkt", "check"])
    assert {"--train-config=dnn.yaml", "--transform-dir=exp/t"} <= set(train)
    assert {"--train-config=dnn.yaml", "--ivectors=exp/i"} <= set(dev)
    assert not any(option.startswith("--ivectors") for option in train)


def test_alignments_of_all_jobs_are_judged_together(tools: StandIns, place: Path) -> None:
    write(place / "exp/ali/ali.1.gz", "of an earlier run")
    told = "INFO PROGRAM retried 3 utterances with the wider beam"
    command = ["steps/align.sh", "--nj", "2", *ALIGN[3:]]
    error = "ERROR (dkt analyze-alignments) data: the alignment cannot be right"
    succeed(place, *command, **tools.alone, TELLS="align", TELL=told)
    analyze = command_of(tools.calls(), "dkt", "analyze-alignments")
    assert analyze[:2] == ["--data=data", "--num-retried=6"]
    assert analyze[-2:] == ["lang", "exp/ali/.parts"]
    # What was there stays, where the new ones cannot be right.
    write(place / "exp/ali/ali.1.gz", "of the first run")
    command = ["steps/align.sh", "--nj", "2", "--beam", "9", *ALIGN[3:]]
    variables = {"FAIL": "analyze-alignments", "TELLS": "analyze-alignments", "TELL": error}
    output = fails(place, *command, **tools.alone, **variables)
    assert "steps/align.sh: error: (dkt analyze-alignments) data: the alignment cannot be right" in output
    assert (place / "exp/ali/ali.1.gz").read_text() == "of the first run"


@pytest.mark.parametrize("step", sorted(set(EVERY) - {"check"}))
def test_a_step_runs_again_only_if_its_inputs_or_options_changed(
    tools: StandIns, place: Path, step: str
) -> None:
    variables = tools.with_kaldi
    command = EVERY[step]
    first = succeed(place, *command, **variables)
    jobs = [call for call in tools.calls() if call[0] == "run.pl"]
    assert jobs and "done already" not in first
    # How jobs are run changes no result; an explicit stage is no order to do it again.
    cmd = ["--cmd", "slurm.pl --max-jobs-run 3"]
    output = succeed(place, command[0], "--stage", "0", *cmd, *command[1:], **variables)
    assert "done already with the same options and inputs" in output
    assert [call for call in tools.calls() if call[0].endswith(".pl")] == []
    write(place / "data/feats.scp", (place / "data/feats.scp").read_text())
    assert "done already" not in succeed(place, *command, **variables)
    assert [call for call in tools.calls() if call[0] == "run.pl"] == jobs
    # What may be lost is of the verdict alone.
    assert "done already with" in succeed(
        place, command[0], "--max-dropped", "0.1", *command[1:], **variables
    )
    tools.calls()
    # The message says what to remove.
    output = succeed(place, command[0], "--max-dropped", "0.1", *command[1:], **variables)
    (place / output.split("to do it again, remove ")[1].split(")")[0]).unlink()
    assert "done already" not in succeed(place, command[0], "--max-dropped", "0.1", *command[1:], **variables)


@pytest.mark.parametrize("step", ["align", "forward", "priors", "dnn", "check"])
def test_what_failed_is_not_taken_for_done(tools: StandIns, place: Path, step: str) -> None:
    command = EVERY[step]
    program = {"align": "align", "dnn": "train-dnn", "check": "check"}.get(step, "forward")
    succeed(place, *command, **tools.alone)
    data = place / "data/feats.scp"
    before = data.stat()
    write(data, data.read_text() + "b-2 y\n")
    fails(place, *command, FAIL=program, **tools.alone)
    # As it was before: what the failed call left must not pass for the result of the first.
    write(data, "".join(f"{utt} x\n" for utt in UTTS))
    os.utime(data, ns=(before.st_atime_ns, before.st_mtime_ns))
    output = succeed(place, *command, **tools.alone)
    assert ("done already with" in output) == (step in ("align", "forward", "priors"))


@pytest.mark.parametrize("step", EVERY)
def test_a_gpu_and_threads_are_asked_of_the_queue_in_words_that_all_know(
    tools: StandIns, place: Path, step: str
) -> None:
    command = EVERY[step]
    gpu = [] if step == "check" else ["--use-gpu", "yes"]
    threads = ["--num-threads", "4"] if step in ("dnn", "lstm") else []
    succeed(place, command[0], "--cmd", "slurm.pl", *gpu, *threads, *command[1:], **tools.with_kaldi)
    job = next(call for call in tools.calls() if call[0] == "slurm.pl")
    expected = [] if step == "check" else ["--gpu", "1"]
    expected += threads or (["--num-threads", "2"] if step == "decode" else [])
    assert job[1 : 1 + len(expected)] == expected and not job[1 + len(expected)].startswith("-")


def test_threads_that_are_used_as_they_pay_are_not_asked_of_the_queue(tools: StandIns, place: Path) -> None:
    succeed(place, LSTM[0], "--cmd", "slurm.pl", "--num-threads", "auto", *LSTM[1:], **tools.with_kaldi)
    job = next(call for call in tools.calls() if call[0] == "slurm.pl")
    assert not job[1].startswith("-") and "--num-threads=auto" in job


def test_a_training_on_a_gpu_if_there_is_one_asks_for_none(tools: StandIns, place: Path) -> None:
    succeed(place, *LSTM, **tools.with_kaldi)
    assert command_of(tools.calls(), "run.pl")[0] == "exp/net/log/train.log"


@pytest.mark.parametrize("step", ["decode", "align", "dnn", "lstm"])
def test_phones_of_another_lang_directory_are_refused(tools: StandIns, place: Path, step: str) -> None:
    for name in ("dnn", "gmm_ali"):
        write(place / "exp" / name / "phones.txt", "<eps> 0\nB 1\n#0 2\n")
    output = fails(place, *EVERY[step], **tools.alone)
    assert "phones.txt differ: give the lang directory" in output
    # As in Kaldi, models of old have no such file.
    for name in ("dnn", "gmm_ali"):
        (place / "exp" / name / "phones.txt").unlink()
    succeed(place, *EVERY[step], **tools.alone)


def test_a_check_of_data_shows_what_it_found(tools: StandIns, place: Path) -> None:
    command = ["steps/check_data.sh", "--no-text", "true", "--cmvn", "required"]
    output = succeed(place, *command, "data", "lang", "exp/gmm_ali", "exp/dnn", "exp/graph", **tools.alone)
    options = ["--max-dropped=0.05", "--lang=lang", "--no-text", "--cmvn=required", "data", "exp/gmm_ali"]
    lists = [f"--list=data/log/check.{number}.list" for number in (1, 2)]
    assert tools.calls() == [
        ["dkt", "check", *options[:-2], where, *options[-2:], name]
        for where, name in zip(lists, ("exp/dnn", "exp/graph"), strict=True)
    ]
    assert output.count("features  ok\n100 utterances would be used") == 2
    assert "data is fit to train on, log in data/log/check.1.log data/log/check.2.log" in output
    # The files that the lists point to may have changed.
    assert "done already" not in succeed(place, *command, "data", **tools.alone) and tools.calls()
    output = fails(place, *command, "data", FAIL="check", **tools.alone)
    assert "features  ok" in output and "a job failed, log is in data/log/check.1.log" in output
    assert tools.calls() == [["dkt", "check", options[0], *options[2:4], lists[0], options[4]]]


def test_texts_of_a_scan_and_lattices_are_scored_by_one_step(tools: StandIns, place: Path) -> None:
    scan = ["steps/decode_scan.sh", "--nj", "1", "--lmwts", "9", "--word-ins-penalties", "0.5", *DECODE[3:]]
    succeed(place, *QUICK, **tools.alone)
    tools.calls()
    succeed(place, *scan, **tools.alone)
    calls = tools.calls()
    assert command_of(calls, "dkt", "decode-scan")[6:] == [
        "exp/dnn/final.mdl",
        "exp/graph",
        "exp/graph/words.txt",
        "ark:-",
        "exp/dnn/decode/scoring/job.1",
    ]
    directory = place / "exp/dnn/decode"
    # Lattices of the search before would be scored in place of the texts.
    assert not list(directory.glob("lat.*")) and [path.name for path in directory.glob("wer_*")] == [
        "wer_9_0.5"
    ]
    (directory / "wer_9_0.5").unlink()
    succeed(place, "steps/score.sh", "data", "exp/graph", "exp/dnn/decode", **tools.alone)
    assert [call[1] for call in tools.calls()] == ["compute-wer", "best-wer"]
    succeed(place, *QUICK, **tools.alone)
    options = ["--min-lmwt", "5", "--max-lmwt", "6", "--word-ins-penalty", "0.0,2.0"]
    succeed(place, "steps/score.sh", *options, "data", "exp/graph", "exp/dnn/decode", **tools.alone)
    points = ["wer_5_0.0", "wer_5_2.0", "wer_6_0.0", "wer_6_2.0"]
    assert sorted(path.name for path in directory.glob("wer_*")) == points
    lists = ["--lmwts", "3.5 8", "--word-ins-penalties", "-1"]
    succeed(place, "steps/score.sh", *lists, "data", "exp/graph", "exp/dnn/decode", **tools.alone)
    assert sorted(path.name for path in directory.glob("wer_*")) == ["wer_3.5_-1", "wer_8_-1"]


@pytest.mark.parametrize(
    "options", [["--gpu", "1", "--num-threads", "4", "--mem", "2G", "--max-jobs-run", "2"]]
)
def test_dkts_own_runner_takes_what_kaldis_do(place: Path, options: list[str]) -> None:
    runner = "steps/utils/run.pl"
    succeed(place, runner, *options, "JOB=1:2", "x.JOB.log", "echo", "JOB")
    succeed(place, runner, "JOB=1:2", *options, "y.JOB.log", "echo", "JOB")
    assert "\n2\n" in (place / "x.2.log").read_text() and "\n2\n" in (place / "y.2.log").read_text()
    assert (ROOT / runner).exists()


def test_scores_of_other_weights_are_not_taken_for_those_asked_for(tools: StandIns, place: Path) -> None:
    scores = ["data", "exp/graph", "exp/dnn/decode"]
    for command in (
        ["steps/score.sh", "--lmwts", "3", "--word-ins-penalties", "0", *scores],
        ["steps/decode.sh", "--stage", "1", "--scoring-opts", "--lmwts 3", *QUICK[3:]],
    ):
        succeed(place, *QUICK, **tools.alone)
        succeed(place, *command, **tools.alone)
        succeed(place, *QUICK, **tools.alone)
        assert [path.name for path in (place / "exp/dnn/decode").glob("wer_*")] == ["wer_9_0.5"]
    # A script of the recipe clears no marks.
    script = "#!/bin/bash\nmkdir -p $5/scoring_kaldi; echo x >$5/scoring_kaldi/best_wer\n"
    write(place / "local/score.sh", script)
    (place / "local/score.sh").chmod(0o755)
    assert "scoring failed" not in succeed(place, *KALDI_SCORED, **tools.with_kaldi)
    output = succeed(place, *KALDI_SCORED, **tools.with_kaldi)
    assert "remove exp/dnn/decode/.local_score.done" in output
    succeed(place, KALDI_SCORED[0], "--stage", "1", *KALDI_SCORED[1:], **tools.with_kaldi)
    assert ".local_score.done" not in succeed(place, *KALDI_SCORED, **tools.with_kaldi)
    write(place / "local/score.sh", f"{script}# mended\n")
    assert ".local_score.done" not in succeed(place, *KALDI_SCORED, **tools.with_kaldi)


@pytest.mark.parametrize("command", [DNN, LSTM])
def test_priors_of_an_earlier_network_are_moved_away(
    tools: StandIns, place: Path, command: tuple[str, ...]
) -> None:
    priors = place / "exp/net/prior_counts"
    succeed(place, *command, **tools.alone)
    succeed(place, *PRIORS[:-1], "exp/net", **tools.alone)
    # A finished training is left as it is.
    assert "done already" in succeed(place, *command, **tools.alone)
    succeed(place, command[0], "--max-dropped", "0.1", *command[1:], **tools.alone)
    assert priors.exists()
    (place / "exp/net/final.pt").unlink()
    succeed(place, *command, **tools.alone)
    assert not priors.exists() and not (place / "exp/net/.make_priors.done").exists()
    assert (place / "exp/net/.backup/prior_counts").exists()


def test_what_is_no_part_of_an_alignment_stays_beside_it(tools: StandIns, place: Path) -> None:
    for name in ("ali.1.gz", "final.alimdl", "my_opts", "final.mat", "cmvn_opts", "final.occs", ".checksums"):
        write(place / "exp/ali" / name, "earlier")
    succeed(place, *ALIGN, **tools.alone)
    assert sorted(path.name for path in (place / "exp/ali").glob("*l.*")) == ["final.alimdl", "final.mdl"]
    assert [path.name for path in (place / "exp/ali").glob("*_opts")] == ["my_opts"]
    assert not (place / "exp/ali/.checksums").exists()


@pytest.mark.parametrize("option", ["--transform-dir", "--ivectors"])
def test_a_gmm_that_aligns_takes_no_speaker_inputs(tools: StandIns, place: Path, option: str) -> None:
    (place / "exp/dnn/final.pt").unlink()
    output = fails(place, ALIGN[0], option, "x", *ALIGN[1:], **tools.alone)
    assert "--transform-dir and --ivectors are of a network, and exp/dnn holds none" in output


@pytest.mark.parametrize(("step", "made"), [("forward", "feats.scp"), ("soft", "soft.scp")])
def test_what_is_gathered_of_other_jobs_is_not_what_was_asked_for(
    tools: StandIns, place: Path, step: str, made: str
) -> None:
    command = list(EVERY[step])
    command[2] = "2"
    succeed(place, *command, **tools.alone)
    succeed(place, command[0], "--stage", "1", "--nj", "1", *command[3:], **tools.alone)
    output = succeed(place, *command, **tools.alone)
    assert "done already with" not in output
    if step == "forward":
        assert len((place / "exp/post" / made).read_text().split()) == len(UTTS)


@pytest.mark.parametrize(
    ("step", "file"),
    [
        ("decode", "exp/dnn/decode/lat.2.gz"),
        ("align", "exp/ali/ali.2.gz"),
        ("align", "exp/ali/final.mdl"),
        ("forward", "exp/post/output.2.ark"),
    ],
)
def test_a_step_whose_output_is_not_whole_is_not_done(
    tools: StandIns, place: Path, step: str, file: str
) -> None:
    command = list(EVERY[step])
    command[command.index("--nj") + 1] = "2"
    succeed(place, *command, **tools.alone)
    (place / file).unlink()
    succeed(place, *command, **tools.alone)
    assert (place / file).exists()


def test_test_is_not_scored_at_weights_that_dev_did_not_choose(tools: StandIns, place: Path) -> None:
    """The stand-in for dkt best-wer tells none."""
    points = ["--lmwts", "9", "--word-ins-penalties", "0.5"]
    command = ["local/decode_dev_then_test.sh", "--nj", "1", *points, "exp/graph", "data", "data", "exp/dnn"]
    assert "wer_details/lmwt" in fails(place, *command, **tools.alone)
    assert (place / "exp/dnn/decode_dev/wer_9_0.5").exists()
    assert not (place / "exp/dnn/decode_test").exists()


def test_lattices_are_kept_by_whatever_they_were_made(tools: StandIns, place: Path) -> None:
    def done(*options: str, **variables: str) -> bool:
        output = succeed(place, QUICK[0], "--skip-scoring", "true", *options, *QUICK[3:], **variables)
        return "done already" in output

    assert not done(**tools.with_kaldi)
    assert done(**tools.alone) and done("--num-threads", "4", **tools.with_kaldi)
    # What is asked for by name counts.
    assert done("--latgen", "kaldi", **tools.with_kaldi)
    assert not done("--latgen", "dkt", **tools.with_kaldi)
    assert done(**tools.with_kaldi) and done("--latgen", "dkt", **tools.alone)
    # Lattices of other options are made by what auto finds then, and the mark says so.
    assert not done("--beam", "9", **tools.with_kaldi)
    assert not done("--beam", "9", "--latgen", "dkt", **tools.with_kaldi)


@pytest.mark.parametrize("prefix", ["", "ark:", "ark,t:", "scp,s,cs:", "o,s,cs,ark:"])
def test_the_file_of_an_rspecifier_is_looked_at(tools: StandIns, place: Path, prefix: str) -> None:
    write(place / "ivectors", "x")
    command = [FORWARD[0], "--ivectors", f"{prefix}ivectors", *FORWARD[1:]]
    succeed(place, *command, **tools.alone)
    assert "done already" in succeed(place, *command, **tools.alone)
    write(place / "ivectors", "other")
    assert "done already" not in succeed(place, *command, **tools.alone)


@pytest.mark.parametrize("name", ["cmvn_opts", "delta_opts", "final.mat"])
def test_a_search_by_a_gmm_looks_at_what_tells_its_features(tools: StandIns, place: Path, name: str) -> None:
    write(place / "exp/gmm/final.mdl", "x")
    command = [*QUICK[:-1], "exp/gmm/decode"]
    succeed(place, *command, **tools.alone)
    write(place / "exp/gmm" / name, "x")
    assert "decoding data" in succeed(place, *command, **tools.alone)
    assert "decoding data" not in succeed(place, *command, **tools.alone)
