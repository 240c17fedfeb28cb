"""Runs a command so that nothing of it is left when it is stopped.

    guard.py [--script | --queue] <name> <command> [<argument>...]

SIGTERM, SIGHUP, SIGINT and SIGQUIT end the command and all that it has started. Each of these processes is
told once, by SIGTERM, and has ``GRACE_SECONDS`` to save what it has or to delete its jobs from a queue; what
it starts for that is left alone. Then, or when the user stops the command a second time, SIGKILL ends what
is left. The processes are found by their parents, in process groups and sessions of their own too, and (on
Linux) also where the parent has ended already. A guard within a guard ends its own part, also when the outer
one dies, even of SIGKILL.

The command has a process group of its own: what a terminal sends, Ctrl-C say, comes to the outermost guard
alone, and no process hears of one stop twice. ``--script``: the command is a shell script. It is held until
all that it has started has ended, so that it does not go on with its next line; then SIGTERM ends it, and
what it does at its end (``trap``) is done last. ``--queue``: the command gives jobs to a queue, of which
nothing can be seen here.

The exit status is that of the command. The outermost guard, when it was stopped, dies of that signal: a shell
that called it would otherwise go on after Ctrl-C.

It runs on Python 3.6, as it is called before the environment of dkt is found.
"""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

GRACE_SECONDS = 15.0
#: For what a script does at its end; for a guard within this one, to end its script and what it has to kill.
SCRIPT_SECONDS = 5.0
INNER_SECONDS = 7.0
#: Signals that come within it are one stop: both a terminal that closes and its shell tell of that.
ONE_STOP_SECONDS = 1.0
PAUSE_SECONDS = 0.05
STOPS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
#: Tells a guard within this one that the user has stopped us a second time.
HURRY = signal.SIGUSR1
#: Within which other guard one is, and which script has one: see steps/lib/signals.sh.
WITHIN, SCRIPT = "DKT_GUARDED", "DKT_GUARDED_SCRIPT"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
#: Linux: that of /proc/PID/stat. The module time has its name since Python 3.7.
CLOCK_BOOTTIME = 7
ON_LINUX = Path("/proc/self/stat").exists()


def prctl(option: int, value: int) -> None:
    """Call ``prctl`` where there is one, on Linux."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


class Process(NamedTuple):
    """A process, as the system tells of it.

    Attributes:
        parent: the number of its parent.
        state: a letter.
        started: when, in clock ticks since the system was; 0 where that is not told.
    """

    parent: int
    state: str
    started: int


def look_at(pid: int) -> "Process | None":
    """A process by its number, on Linux; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name of the program stands in parentheses, and may hold anything.
    fields = stat.rpartition(") ")[2].split()
    return Process(int(fields[1]), fields[0], int(fields[19]))


def processes() -> "dict[int, Process]":
    """All processes that are not zombies."""
    found = {}
    if ON_LINUX:
        for folder in Path("/proc").glob("[0-9]*"):
            process = look_at(int(folder.name))
            if process is not None:
                found[int(folder.name)] = process
    else:
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], stdout=subprocess.PIPE)
        for line in listing.stdout.decode().splitlines():
            pid, parent, state = line.split()
            found[int(pid)] = Process(int(parent), state[0], 0)
    return {pid: process for pid, process in found.items() if process.state not in "ZXx"}


def descendants() -> "dict[int, Process]":
    """All processes that this one has started, parents before their children."""
    known = processes()
    children: dict[int, list[int]] = {}
    for pid, process in known.items():
        children.setdefault(process.parent, []).append(pid)
    found = [os.getpid()]
    for pid in found:
        found += children.get(pid, [])
    return {pid: known[pid] for pid in found[1:]}


def is_within(guard: str) -> bool:
    """Whether a guard, by its number, is above this process: not every heir of its environment is."""
    pid, known = os.getpid(), processes()
    while pid in known and str(pid) != guard:
        pid = known[pid].parent
    return str(pid) == guard


def words_of(pid: int) -> "list[str]":
    """The command line of a process, at blanks on other systems than Linux; empty if it is gone."""
    with contextlib.suppress(OSError):
        if ON_LINUX:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")[:-1]
        listing = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], stdout=subprocess.PIPE)
        return os.fsdecode(listing.stdout).split()
    return []


def guard_arguments(pid: int) -> "list[str]":
    """The arguments of a process that is a guard; empty if it is none."""
    words = words_of(pid)
    for place, word in enumerate(words[:3]):
        if word.endswith("utils/guard.py"):
            return words[place + 1 :]
    return []


def send(signum: int, pids: "list[int]") -> None:
    """Send a signal to processes, but those that are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def tell(pids: "list[int]") -> None:
    """Tell processes to end; those that were paused hear of it when they go on."""
    send(signal.SIGTERM, pids)
    send(signal.SIGCONT, pids)


class Family:
    """What there is below a guard at a moment.

    Attributes:
        guards: the guards within it, but not those within these.
        own: the processes that it has to end itself, parents before their children, with these guards.
        depth: how many guards there are within another, at most.
        queues: whether jobs in a queue may be among what is ended.
    """

    def __init__(self, below: "dict[int, Process]") -> None:
        self.guards: list[int] = []
        self.own: list[int] = []
        self.queues = False
        levels = {os.getpid(): 0}
        for pid, process in below.items():
            level = levels.get(process.parent, 0)
            arguments = guard_arguments(pid)
            if level == 0:
                self.own.append(pid)
                if arguments:
                    self.guards.append(pid)
            self.queues = self.queues or "--queue" in arguments[:1]
            levels[pid] = level + bool(arguments)
        self.depth = max(levels.values())


class Guard:
    """The command that is run.

    Attributes:
        stopped_by: the signal that stopped it, 0 for none.
        queues: whether jobs in a queue may be among what was stopped.
    """

    def __init__(self, command: "list[str]", kind: str, within: bool) -> None:
        self.stopped_by = 0
        self.queues = kind == "--queue"
        self._script = command if kind == "--script" else []
        self._within = within
        self._told_at = 0.0
        self._ended: int | None = None
        # What is ignored, as by nohup, stays so.
        self._stops = {signum for signum in STOPS if signal.getsignal(signum) is not signal.SIG_IGN}
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Blocked, and waited for: none comes between a look and a wait.
        before = signal.pthread_sigmask(
            signal.SIG_BLOCK, self._stops | {signal.SIGCHLD, signal.SIGTSTP, HURRY}
        )
        guard = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._become(command, guard, before)
            finally:
                os._exit(127)

    def _become(self, command: "list[str]", guard: int, mask: "set[int]") -> None:
        # Those that Python itself ignores or handles, too.
        for signum in {*self._stops, signal.SIGPIPE, signal.SIGXFSZ}:
            signal.signal(signum, signal.SIG_DFL)
        os.setpgid(0, 0)
        # In the background of a terminal one may write to it, and cannot read, but is not paused for it.
        for signum in (signal.SIGTTOU, signal.SIGTTIN):
            signal.signal(signum, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:  # it died before we asked to be told
            return
        if self._script:
            os.environ[SCRIPT] = str(os.getpid())
        try:
            os.execvp(command[0], command)
        except OSError as error:
            print(f"{command[0]}: error: cannot be run: {error.strerror}", file=sys.stderr, flush=True)

    def wait(self) -> int:
        """Wait for the command; returns its exit status."""
        while True:
            self._reap()
            if self._ended is not None:
                if self._ended != 0:
                    self._end_rest()
                break
            signum = signal.sigwait(self._stops | {signal.SIGCHLD, signal.SIGTSTP})
            if signum == signal.SIGTSTP:
                self._pause()
            elif signum != signal.SIGCHLD:
                self._note(signum)
                self._end_all()
                break
        if self._ended is None:
            return 128 + signal.SIGKILL
        return 128 + os.WTERMSIG(self._ended) if os.WIFSIGNALED(self._ended) else os.WEXITSTATUS(self._ended)

    def _reap(self) -> None:
        """Take note of all that have ended, and how the command did."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, code = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self._pid:
                    self._ended = code

    def _pause(self) -> None:
        """Pause with all that is below, as a terminal asks for (Ctrl-Z), until told to go on."""
        below = list(descendants())
        send(signal.SIGSTOP, below)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
        send(signal.SIGCONT, below)

    def _note(self, signum: int) -> None:
        self.stopped_by = self.stopped_by or int(signum)
        self._told_at = time.monotonic()

    def _is_hurried(self) -> bool:
        """Whether the user has stopped us once more, clearly later.

        The death of an outer guard, or of a program that has called this one, is a signal too, but no hurry.
        """
        hurried = False
        for signum in (self._stops | {HURRY}) & signal.sigpending():
            signal.sigwait({signum})
            later = self.stopped_by != 0 and time.monotonic() - self._told_at > ONE_STOP_SECONDS
            hurried = hurried or signum == HURRY or (later and not self._within)
            if signum != HURRY:
                self._note(signum)
        return hurried

    def _end_all(self) -> None:
        """End the command and whatever it has started."""
        # The script may have called a program in its place.
        if not self._script or words_of(self._pid) not in (self._script, " ".join(self._script).split()):
            self._end_rest()
            return
        self._hold_script()
        self._end_rest(self._pid)
        # The last that is left: what it starts now is its own business.
        tell([self._pid])
        self._see_to_the_end(time.monotonic() + SCRIPT_SECONDS, 0, {self._pid}, 0)

    def _hold_script(self) -> None:
        send(signal.SIGSTOP, [self._pid])
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            process = look_at(self._pid)
            if process is None or process.state in "TtZXx":
                return
            time.sleep(PAUSE_SECONDS / 10)

    def _end_rest(self, kept: int = 0) -> None:
        """Tell all processes but one to end, and see that they do."""
        family = Family(descendants())
        self.queues = self.queues or family.queues
        told = set(family.own) - {kept}
        tell([pid for pid in family.own if pid in told])
        deadline = time.monotonic() + GRACE_SECONDS + family.depth * INNER_SECONDS
        self._see_to_the_end(deadline, kept, told, ticks())

    def _see_to_the_end(self, deadline: float, kept: int, told: "set[int]", told_at: float) -> None:
        """Wait until nothing is left, and kill what is after the deadline.

        Args:
            deadline: on the monotonic clock.
            kept: the process that stays, 0 for none.
            told: those that know that they are to end.
            told_at: when, in clock ticks.
        """
        while True:
            self._reap()
            left = descendants()
            left.pop(kept, None)
            if not left:
                self._reap()  # the last one, too
                return
            if self._is_hurried():
                family = Family(left)
                send(HURRY, family.guards)
                send(signal.SIGKILL, [pid for pid in family.own if pid not in family.guards])
                deadline = min(deadline, time.monotonic() + family.depth * INNER_SECONDS)
            if time.monotonic() >= deadline:
                send(signal.SIGKILL, list(left))
            else:
                # Those whose parent died when it was told, before it could tell what it had just started.
                orphans = [
                    pid
                    for pid, process in left.items()
                    if process.parent == os.getpid() and process.started <= told_at and pid not in told
                ]
                tell(orphans)
                told.update(orphans)
            time.sleep(PAUSE_SECONDS)

    def tell_of_queue(self, name: str, runner: str) -> None:
        """Say what has become of a runner that gives jobs to a queue."""
        if self._ended is not None and os.WIFEXITED(self._ended):
            ending = "has ended as it was told to. Whether its jobs have"
        else:
            ending = "was killed before it could delete its jobs. Whether they go on"
        print(f"{name}: {Path(runner).name} {ending}, the queue knows (qstat, squeue)", file=sys.stderr)


def ticks() -> float:
    """Now, as ``Process.started`` counts, rounded up."""
    return time.clock_gettime(CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK") + 1 if ON_LINUX else 0


def die_of(signum: int) -> None:
    """End by a signal, without a core dump."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    sys.stderr.flush()
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signum})


def main(argv: "list[str]") -> int:
    """Run the command; returns the exit status."""
    kind = argv.pop(0) if argv[0].startswith("--") else ""
    name, command = argv[0], argv[1:]
    within = is_within(os.environ.get(WITHIN, ""))
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if within:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.environ[WITHIN] = str(os.getpid())
    guard = Guard(command, kind, within)
    status = guard.wait()
    if not guard.stopped_by:
        return status
    if kind == "--queue":
        guard.tell_of_queue(name, command[0])
    if not within:
        stopped_by = signal.Signals(guard.stopped_by).name
        what = "all that it ran on this machine" if guard.queues else "its jobs"
        print(f"{name}: stopped by {stopped_by}, and {what} with it", file=sys.stderr)
        die_of(guard.stopped_by)
    # The shell that called it is stopped too, and would only tell of this one's death.
    return 128 + guard.stopped_by


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
