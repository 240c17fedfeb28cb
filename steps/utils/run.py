"""Runs a command, or an array of jobs, on this machine with the interface of Kaldi's ``run.pl``.

    run.pl [options] [JOB=1:n] <log-file> <command> [<argument>...]

Unlike Kaldi's it takes lists of jobs too: JOB=1,4:6. The string JOB is replaced by the job's number in the
command and in the log's name. The command's arguments are joined and run by bash, so a quoted ``'|'`` or
``'>'`` is a pipe or a redirection. Options:

    --max-jobs-run N   at most N jobs at once; by default as many as there are processors (or GPUs)
    --gpu N            the jobs use a GPU: by default as many at once as there are GPUs

Other options, with their one argument, are for queues (``--mem 4G``) and ignored. Unlike Kaldi's, the
command runs with ``pipefail``, ranges may begin at 0, and the end of the first failing log is shown. Runs on
Python 3.6, as it may be called where python3 is that of the system.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NamedTuple

GRACE_SECONDS = 10  # a training saves what it has
PAUSE_SECONDS = 0.05
TAIL_LINES = 12  # ten of the job's and two of the frame
TAIL_BYTES = 16384
JOB_RANGE = re.compile(r"(\w+)=(\d+(?::\d+)?(?:,\d+(?::\d+)?)*)", re.ASCII)


class UsageError(Exception):
    """The call itself is wrong."""


class Request:
    """What the command line asks for."""

    def __init__(self) -> None:
        self.log = ""  # with the job's name in place of its number, as the command is
        self.command = ""
        self.job_name: str | None = None  # the word that stands for the number; None without a range
        self.numbers = [1]
        self.max_jobs_run = 0  # 0: not said
        self.uses_gpu = False

    def for_job(self, text: str, number: int) -> str:
        """``text`` with the job's number in place of the job's name."""
        return text if self.job_name is None else text.replace(self.job_name, str(number))


def quote(argument: str) -> str:
    """An argument as bash should read it, by Kaldi's rule (egs/wsj/s5/utils/parallel/run.pl).

    What has no white space goes bare, so pipes and redirections work; the rest goes in double quotes,
    where variables are expanded, or in single quotes if it holds double ones.
    """
    if re.fullmatch(r"\S+", argument, re.ASCII):
        return argument
    if '"' in argument:
        return "'" + argument.replace("'", "'\\''") + "'"
    return f'"{argument}"'


def take_option(request: Request, argv: "list[str]") -> None:
    """Take one option, with its argument, off the front of ``argv``."""
    option = argv.pop(0)
    if option == "-V":
        return
    if option.startswith("--") and "=" in option:
        raise UsageError(f"options are of the form --name value, got '{option}'")
    value = argv.pop(0)
    if value.startswith("--"):
        print(f"run.pl: warning: suspicious argument '{value}' to {option}", file=sys.stderr)
    if option in ("--max-jobs-run", "-tc"):
        if not value.isdecimal() or int(value) < 1:
            raise UsageError(f"{option} wants a number above 0, got '{value}'")
        request.max_jobs_run = min(request.max_jobs_run or int(value), int(value))
    elif option == "--gpu":
        request.uses_gpu = value not in ("0", "")
    elif option == "-pe" and argv:  # -pe smp 5
        argv.pop(0)


def take_range(request: Request, argv: "list[str]") -> None:
    """Take the job range, if one is there, off the front of ``argv``."""
    match = JOB_RANGE.fullmatch(argv[0]) if argv else None
    if match is None:
        return
    request.job_name, request.numbers = match[1], []
    for part in match[2].split(","):
        first, _, last = part.partition(":")
        if int(first) > int(last or first):
            raise UsageError(f"invalid job range '{argv[0]}': the first number is above the last")
        request.numbers += range(int(first), int(last or first) + 1)
    argv.pop(0)


def parse(argv: "list[str]") -> Request:
    """Read the command line; raises UsageError."""
    request, argv = Request(), list(argv)
    for _ in range(2):  # options may stand before and after the range
        while len(argv) >= 2 and argv[0].startswith("-"):
            take_option(request, argv)
        take_range(request, argv)
    if len(argv) < 2:
        raise UsageError(
            "nothing to run. Usage: run.pl [options] [JOB=1:n] <log-file> <command> [<argument>...]"
        )
    if re.fullmatch(r".+=.*:.*", argv[0]):
        print(f"run.pl: warning: suspicious log file name '{argv[0]}'", file=sys.stderr)
    request.log = argv[0]
    request.command = "".join(quote(argument) + " " for argument in argv[1:])
    if len(request.numbers) > 1 and request.for_job(request.log, 0) == request.log:
        raise UsageError(
            f"{len(request.numbers)} jobs would write one log file ({request.log}): "
            f"put {request.job_name} in its name"
        )
    return request


def count_gpus() -> int:
    """The number of GPUs that the driver lists, at least 1."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], stdout=subprocess.PIPE, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        listing = b""
    if not listing.strip():
        print("run.pl: warning: nvidia-smi lists no GPU, one job at a time", file=sys.stderr)
    return max(1, len(listing.splitlines()))


def default_max_jobs(num_jobs: int, uses_gpu: bool) -> int:
    """How many jobs run at once when the call does not say.

    As in Kaldi's run.pl, slightly more jobs than processors (up to 1.4 times) all run at once: it beats
    a second round for the few that are left over.
    """
    if uses_gpu:
        return count_gpus()
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        processors = os.cpu_count() or 1
    return num_jobs if num_jobs < 1.4 * processors else processors


class Job(NamedTuple):
    """One running job."""

    number: int
    log: Path
    process: "subprocess.Popen[bytes]"
    started: float

    def kill(self, signum: int) -> None:
        """Send a signal to the job's process group: bash and whatever it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signum)

    def see_to_the_end(self, deadline: float) -> None:
        """Wait for the rest of the process group of a job whose bash is gone; kill it at the deadline."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            while time.monotonic() < deadline:
                os.killpg(self.process.pid, 0)
                time.sleep(PAUSE_SECONDS)
            os.killpg(self.process.pid, signal.SIGKILL)

    def finish(self, wait_status: int) -> int:
        """Close the log with the exit code, which is returned; death by signal s is code 128 + s."""
        killed = os.WIFSIGNALED(wait_status)
        code = 128 + os.WTERMSIG(wait_status) if killed else os.WEXITSTATUS(wait_status)
        self.process.returncode = code  # reaped by os.wait: the Popen object must not wait again
        elapsed = int(time.time()) - int(self.started)
        try:
            with self.log.open("a") as log:
                log.write(f"# Accounting: time={elapsed} threads=1\n")
                log.write(f"# Ended (code {code}) at {date()}, elapsed time {elapsed} seconds\n")
        except OSError as error:
            print(f"run.pl: error: the log '{self.log}' cannot be written: {error.strerror}", file=sys.stderr)
            return code or 1
        return code


def date() -> str:
    """Now, as the ``date`` command writes it in the C locale."""
    return time.strftime("%a %b %e %H:%M:%S %Z %Y")


def start(request: Request, number: int) -> Job:
    """Start one job: its log opened and headed, its command in a process group of its own."""
    log = Path(request.for_job(request.log, number))
    command = request.for_job(request.command, number)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as head:
        head.write(os.fsencode(f"# {command}\n# Started at {date()}\n#\n"))
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Job(number, log, process, time.time())


class Runner:
    """Runs the jobs of a request, so many at once, and keeps account of those that failed."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.running: dict[int, Job] = {}
        self.failed: list[int] = []
        self.stopped_by = 0
        self.deadline = 0.0  # of what is stopped

    def run(self) -> int:
        """Run every job; the exit status is 0, 1 if any failed, or 128 + s when stopped by signal s."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup stays nohup
                signal.signal(signum, self._stop)
        signal.signal(signal.SIGALRM, self._kill)
        try:
            self._run_all()
        finally:  # a log that cannot be written must not leave jobs behind
            self._kill()
        if self.stopped_by:
            name = signal.Signals(self.stopped_by).name
            print(f"run.pl: stopped by {name}, log is in {self._log_pattern()}", file=sys.stderr)
            return 128 + self.stopped_by
        return 1 if self.failed else 0

    def _run_all(self) -> None:
        waiting = list(self.request.numbers)
        limit = self.request.max_jobs_run or default_max_jobs(len(waiting), self.request.uses_gpu)
        while waiting or self.running:
            while waiting and len(self.running) < limit and not self.stopped_by:
                self._start(waiting.pop(0))
            if not self.running:
                break
            pid, wait_status = os.wait()
            job = self.running.pop(pid, None)
            if job is not None and self.stopped_by:
                job.see_to_the_end(self.deadline)
            if job is not None and job.finish(wait_status) != 0:
                self.failed.append(job.number)

    def _start(self, number: int) -> None:
        try:
            job = start(self.request, number)
        except OSError as error:
            log = self.request.for_job(self.request.log, number)
            reason = f"{error.filename or log}: {error.strerror}"
            print(f"run.pl: error: cannot start job {number}: {reason}", file=sys.stderr)
            self.failed.append(number)
            return
        self.running[job.process.pid] = job
        if self.stopped_by:  # the signal came while the job was being started
            job.kill(signal.SIGTERM)

    def _stop(self, signum: int, _frame: "FrameType | None") -> None:
        self.stopped_by = signum
        self.deadline = time.monotonic() + GRACE_SECONDS
        self._signal_all(signal.SIGTERM)
        signal.alarm(GRACE_SECONDS)

    def _kill(self, *_: object) -> None:
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, signum: int) -> None:
        for job in list(self.running.values()):
            job.kill(signum)

    def _log_pattern(self) -> str:
        request = self.request
        if len(request.numbers) == 1:
            return request.for_job(request.log, request.numbers[0])
        return request.log.replace(request.job_name or "", "*")

    def report(self) -> None:
        """Say on stderr how many jobs failed and where, with the end of the first one's log."""
        total = len(self.request.numbers)
        verdict = "job failed" if total == 1 else f"{len(self.failed)} / {total} failed"
        print(f"run.pl: {verdict}, log is in {self._log_pattern()}", file=sys.stderr)
        if self.request.job_name is None and "JOB" in self.request.log:
            print("run.pl: probably you forgot to put JOB=1:$nj in your script", file=sys.stderr)
        log = Path(self.request.for_job(self.request.log, min(self.failed)))
        if log.is_file():
            print(f"run.pl: the end of {log}:", file=sys.stderr)
            for line in tail(log):
                print(f"  {line}", file=sys.stderr)


def tail(path: Path) -> "list[str]":
    """The last lines of a file."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read().decode(errors="replace").splitlines()[-TAIL_LINES:]


def main(argv: "list[str]") -> int:
    """Run the command line's jobs; returns the exit status."""
    try:
        runner = Runner(parse(argv))
    except UsageError as error:
        print(f"run.pl: error: {error}", file=sys.stderr)
        return 1
    status = runner.run()
    if status == 1:
        runner.report()
    if runner.stopped_by == signal.SIGINT:
        # A shell goes on after Ctrl-C unless the program that it waited for has died of it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
