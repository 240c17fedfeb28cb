"""Threads: they change no bit, and there are as many as pay on the machine as it is at the moment."""

from __future__ import annotations

import argparse
import ast
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import torch

from dkt.base.errors import DktError
from dkt.bin.common import devices, processors
from dkt.dataset.prefetch import Prefetcher
from dkt.nnet import pace, products, threads
from dkt.nnet.dnn import Dnn, DnnConfig
from dkt.nnet.lstm import Lstm, LstmConfig
from dkt.nnet.pace import Pace
from dkt.train import objectives
from dkt.train.optimizer import OptimizerConfig, Updates
from dkt.train.precision import mixed_precision


@pytest.fixture(autouse=True)
def own_state(monkeypatch):
    """What one test decides on threads holds for it alone; products of any size are worth sharing."""
    monkeypatch.setattr(threads, "_unchanged", {})
    monkeypatch.setattr(threads, "_WORTH_SHARING", 0)
    yield
    threads.use(threads.Fixed())


def in_step(compute: Callable[[], torch.Tensor]) -> torch.Tensor:
    with threads.step(1):
        return threads.shared_product(compute, torch.zeros(3, 4), torch.zeros(5, 4))


def test_a_product_that_threads_would_change_stays_with_one():
    threads.use(threads.Fixed(3))
    used = []

    def compute() -> torch.Tensor:
        used.append(torch.get_num_threads())
        one = torch.ones(3, 5)
        return one if used[-1] == 1 else torch.nextafter(one, 2 * one)

    for _ in range(5):
        assert (in_step(compute) == 1.0).all()
    # Seen, tried, and from then on left alone.
    assert used == [1, 1, 3, 1, 1, 1]
    assert torch.get_num_threads() == 1


def test_a_product_that_threads_do_not_change_is_shared_but_not_outside_steps():
    threads.use(threads.Fixed(3))
    used = []

    def compute() -> torch.Tensor:
        used.append(torch.get_num_threads())
        return torch.full((3, 5), float("nan"))  # bits are compared, not numbers

    for _ in range(4):
        in_step(compute)
    assert used == [1, 1, 3, 3, 3]
    threads.shared_product(compute, torch.zeros(3, 4), torch.zeros(5, 4))
    assert used[-1] == 1
    # Another number of threads is tried anew.
    threads.use(threads.Fixed(2))
    for _ in range(3):
        in_step(compute)
    assert used[6:] == [1, 1, 2, 2]


def test_a_step_that_tries_a_product_is_told_from_a_typical_one():
    class Telling(threads.Fixed):
        def took(self, amount: int, seconds: float, typical: bool = True) -> None:
            told.append((amount, typical))

    told: list[tuple[int, bool]] = []
    threads.use(Telling(2))
    for _ in range(4):
        in_step(lambda: torch.ones(3, 5))
    assert told == [(1, False), (1, False), (1, True), (1, True)]


def test_threads_are_given_back_when_a_product_fails():
    threads.use(threads.Fixed(2))

    def fail() -> torch.Tensor:
        if torch.get_num_threads() > 1:
            raise RuntimeError("out of memory")
        return torch.zeros(1)

    with pytest.raises(RuntimeError, match="out of memory"):
        for _ in range(3):
            in_step(fail)
    assert torch.get_num_threads() == 1 and threads.count() == 1


@pytest.mark.parametrize("library", ["onednn", "pytorch"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["dnn", "lstm"])
def test_trained_weights_do_not_depend_on_the_number_of_threads(monkeypatch, library, precision, kind):
    if library == "pytorch":
        monkeypatch.setattr(products, "_onednn", lambda: None)

    def train(number: int) -> list[torch.Tensor]:
        threads.use(threads.Fixed(number))
        torch.manual_seed(0)
        if kind == "dnn":
            network = Dnn(DnnConfig(hidden_layers=2, hidden_dim=96), 70, 45)
            features = torch.randn(128, 70)
        else:
            network = Lstm(LstmConfig(layers=2, cells=40, projection=24), 30, 45)
            features = torch.randn(9, 13, 30)  # streams that are no multiple of a group, or of threads
        labels = torch.randint(45, (features[..., 0].numel(),))
        updates = Updates(network, OptimizerConfig("adam", max_grad_norm=0.1), len(labels))
        updates.set_learn_rate(0.01)
        for _ in range(5):
            with threads.step(len(labels)):
                with mixed_precision(precision, torch.device("cpu"))():
                    outputs = network(features)
                logits = (outputs[0] if kind == "lstm" else outputs).float().flatten(0, -2)
                updates.apply(objectives.hard(logits, labels), len(labels))
        return [parameter.detach().clone() for parameter in network.parameters()]

    one, *others = (train(number) for number in (1, 2, 3))
    for other in others:
        for expected, found in zip(one, other, strict=True):
            assert torch.equal(expected, found)


def test_results_come_in_order_and_what_was_done_before_an_error_is_not_lost():
    threads.use(threads.Fixed(3))
    first_may_end = threading.Event()
    names = set()

    def slow_first(item: int) -> int:
        names.add(threading.current_thread().name)
        assert torch.get_num_threads() == 1
        if item == 0:
            assert first_may_end.wait(10)
        elif item == 2:
            first_may_end.set()
        return 10 * item

    assert list(threads.map_in_order(slow_first, range(20))) == [10 * item for item in range(20)]
    assert len(names) > 1 and threading.current_thread().name not in names

    def fail_at_7(item: int) -> int:
        if item == 7:
            raise DktError("no features")
        return item

    def broken_after_5():
        yield from range(5)
        raise DktError("no archive")

    for items, expected, message in ((range(20), 7, "no features"), (broken_after_5(), 5, "no archive")):
        seen = []
        with pytest.raises(DktError, match=message):
            for result in threads.map_in_order(fail_at_7, items):
                seen.append(result)
        assert seen == list(range(expected))


def test_one_worker_is_this_thread_and_a_policy_may_change_its_mind():
    class Changing(threads.Fixed):
        def workers(self) -> int:
            asked.append(None)
            return 2 if 3 <= len(asked) <= 6 else 1

    asked: list[None] = []
    threads.use(Changing())
    here = threading.current_thread()
    found = list(threads.map_in_order(lambda item: (item, threading.current_thread() is here), range(10)))
    assert found == [(item, not 2 <= item <= 5) for item in range(10)]


def test_reading_ahead_computes_alone():
    threads.use(threads.Fixed(3))
    torch.set_num_threads(3)  # as in the middle of a product
    try:
        with Prefetcher(torch.get_num_threads() for _ in range(1)) as items:
            assert list(items) == [1]
    finally:
        torch.set_num_threads(1)


class Machine:
    """A training on a machine whose processors others use: time passes as its steps take it.

    ``slowness(threads, busy)`` is how many times as long as alone on an idle machine a step takes.
    """

    def __init__(self, processors: int, slowness: Callable[[int, float], float]) -> None:
        self.slowness = slowness
        self.busy = 0.0
        self.now = 100.0
        self.used: list[tuple[float, int]] = []
        self.pace = Pace(processors, lambda: processors - self.busy, lambda: self.now)

    def run(self, seconds: float, step: float = 0.015) -> float:
        """Train so long; how many times as fast as with one thread it was."""
        begin, alone = self.now, 0.0
        while self.now < begin + seconds:
            number = self.pace.count()
            took = step * self.slowness(number, self.busy)
            alone += step * self.slowness(1, self.busy)
            self.used.append((self.now, number))
            self.now += took
            self.pace.took(256, took)
        return alone / (self.now - begin)

    def numbers(self, since: float = 0.0) -> set[int]:
        return {number for when, number in self.used if when >= since}


def two_cores(number: int, busy: float) -> float:
    """As measured: a DNN on two cores, 1.75 times as fast where both are free, and much slower where not."""
    if number == 1:
        return max(1.0, (1.0 + busy) / 2)
    return 1 / 1.75 if busy < 0.5 else 2.0 if busy < 1.5 else 12.0


def test_two_free_processors_are_used(caplog):
    caplog.set_level(logging.INFO)
    machine = Machine(2, two_cores)
    assert machine.run(30) > 1.65
    assert machine.pace.count() == 2
    assert caplog.messages == ["2 CPU threads: 1.75 times as fast as 1"]


@pytest.mark.parametrize("busy", [1.0, 2.0])
def test_processors_that_others_use_are_left_to_them(caplog, busy):
    caplog.set_level(logging.INFO)
    machine = Machine(2, two_cores)
    machine.busy = busy
    assert machine.run(60) == pytest.approx(1.0)
    assert machine.numbers() == {1} and machine.pace.workers() == 1
    assert caplog.messages == [f"1 CPU thread: other programs keep {busy:.1f} of 2 processors busy"]


def test_threads_that_do_not_pay_are_given_up_soon_and_tried_ever_more_seldom(caplog):
    """Nothing seems to be busy, but one of two is not what it seems: a sibling, say."""
    caplog.set_level(logging.INFO)
    machine = Machine(2, lambda number, busy: 1.0 if number == 1 else 8.0)
    assert machine.run(20) > 0.95
    assert machine.run(300) > 0.97
    assert caplog.messages == ["1 CPU thread: 2 are much slower"]
    machine = Machine(2, lambda number, busy: 1.0 if number == 1 else 0.95)
    machine.run(300)
    assert sum(number == 2 for _, number in machine.used) < 0.02 * len(machine.used)
    assert caplog.messages[1] == "1 CPU thread: 2 are 1.05 times as fast"


def test_other_jobs_that_start_and_stop(caplog):
    caplog.set_level(logging.INFO)
    machine = Machine(2, two_cores)
    machine.run(20)
    for _ in range(2):
        machine.busy = 2.0
        began = machine.now
        assert machine.run(20) > 0.95
        assert machine.numbers(since=began + 1.0) == {1}
        machine.busy = 0.0
        assert machine.run(40) > 1.3
        assert machine.pace.count() == 2
    assert [message.split(":")[0] for message in caplog.messages] == ["2 CPU threads", "1 CPU thread"] * 2 + [
        "2 CPU threads"
    ]


def test_a_machine_that_became_slow_for_threads_without_a_sign_is_found_out():
    machine = Machine(2, two_cores)
    machine.run(30)
    machine.slowness = lambda number, busy: 1.0 if number == 1 else 1.2
    machine.run(70)
    assert machine.pace.count() == 1
    assert machine.run(100) > 0.97


def test_a_machine_of_many_processors_is_not_taken_whole():
    machine = Machine(64, lambda number, busy: 0.25 + 0.75 / number)
    machine.run(60)
    assert max(machine.numbers()) <= pace.MOST
    # 8 threads are 1.27 times as fast as 4 are: they pay. Where 4 are hardly faster than 2, there are 2.
    assert machine.pace.count() == 8 and machine.pace.workers() == pace.MOST_WORKERS
    machine = Machine(64, lambda number, busy: 0.7 + 0.3 / number)
    machine.run(60)
    assert machine.pace.count() == 2
    # Of 64 processors 3 are free: 2 threads.
    machine = Machine(64, lambda number, busy: 0.05 + 0.95 / number)
    machine.busy = 61.0
    machine.run(60)
    assert machine.numbers() == {1, 2} and machine.pace.workers() == 3


def test_a_share_of_a_large_machine_that_others_use_too():
    """Four processors are ours by a quota; others keep 40 of 64 busy, or 62 of them."""
    machine = Machine(4, lambda number, busy: 0.1 + 0.9 / number)
    machine.busy = 4 - 24
    machine.run(20)
    assert machine.pace.count() == 4
    machine.busy = 4 - 2
    machine.run(20)
    assert machine.pace.count() == 2


def test_steps_in_which_products_of_new_shapes_are_tried_do_not_count():
    """Chunks of 20 lengths: whatever is new takes both the time of one thread and that of two."""
    machine, tried = Machine(2, two_cores), []
    took = machine.pace.took

    def first_tries(amount: int, seconds: float) -> None:
        new = machine.pace.count() == 2 and len(tried) < 40
        if new:
            tried.append(None)
            machine.now += 2 * seconds
        took(amount, seconds * (3 if new else 1), not new)

    machine.pace.took = first_tries
    machine.run(4.0)
    assert len(tried) == 40 and machine.pace.count() == 2


def test_no_end_of_new_shapes_is_an_end_of_the_trial():
    machine = Machine(2, lambda number, busy: 1.0)
    took = machine.pace.took
    machine.pace.took = lambda amount, seconds: took(amount, seconds, machine.pace.count() == 1)
    machine.run(300.0)
    assert machine.pace.count() == 1
    assert sum(number == 2 for _, number in machine.used) < 0.05 * len(machine.used)


def test_long_steps_and_nothing_known_of_spare():
    machine = Machine(2, two_cores)
    machine.pace = Pace(2, lambda: None, lambda: machine.now)
    assert machine.run(300, step=2.0) > 1.4
    assert machine.pace.count() == 2


def stat(*processors: tuple[int, int]) -> str:
    """/proc/stat of processors' busy and idle ticks, half of the idle ones waiting for disks."""
    lines = [f"cpu{n} {busy} 0 0 {idle - idle // 2} {idle // 2} 0 0 0 0 0" for n, (busy, idle) in processors]
    return "\n".join(["cpu  1 2 3 4 5 6 7 8 0 0", *lines, "intr 12 0 7"]) + "\n"


def test_what_others_leave_of_the_processors_that_are_ours(monkeypatch, tmp_path):
    place = tmp_path / "stat"
    monkeypatch.setattr(processors, "_STAT", place)
    monkeypatch.setattr(processors, "_allowed", lambda: {1, 3})
    monkeypatch.setattr(processors.os, "sysconf", lambda name: 100)
    spent = [5.0]
    monkeypatch.setattr(processors.os, "times", lambda: argparse.Namespace(user=spent[0], system=0.0))
    place.write_text(stat((0, (0, 0)), (1, (100, 100)), (2, (0, 0)), (3, (50, 150))), encoding="ascii")
    spare = processors.SpareProcessors()
    # In two seconds: one processor busy all along, the other half of it; 1.2 of these 3 are this process.
    place.write_text(stat((0, (200, 0)), (1, (300, 100)), (2, (200, 0)), (3, (150, 250))), encoding="ascii")
    spent[0] += 1.2
    assert spare() == pytest.approx(2.0 - (2.0 + 1.0 - 1.2) / 2.0)
    assert spare() is None  # no time has passed
    place.unlink()
    assert spare() is None


@pytest.mark.parametrize(
    ("given", "variable", "free", "expected"),
    [
        ("--num-threads=3", "2", 8, "3 CPU threads (--num-threads)"),
        (None, "2", 8, "2 CPU threads (OMP_NUM_THREADS)"),
        (None, "1,2", 8, "1 CPU thread (OMP_NUM_THREADS)"),
        (None, None, 1, "1 CPU thread (one processor is allowed)"),
        (None, None, 8, "1 CPU thread, more of 8 processors as soon as they pay"),
        ("--num-threads=auto", "2", 8, "1 CPU thread, more of 8 processors as soon as they pay"),
    ],
)
def test_one_line_says_what_computes(monkeypatch, caplog, given, variable, free, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr(devices, "available", lambda: free)
    parser = argparse.ArgumentParser()
    devices.add_device_options(parser)
    args = parser.parse_args(["--use-gpu=no", *([given] if given else [])])
    caplog.set_level(logging.INFO)
    assert devices.choose_device(args).type == "cpu"
    assert caplog.messages == [expected]
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("wrong", ["0", "-1", "all", "1.5", ""])
def test_numbers_that_are_none(wrong):
    parser = argparse.ArgumentParser(exit_on_error=False)
    devices.add_device_options(parser)
    with pytest.raises(argparse.ArgumentError):
        parser.parse_args([f"--num-threads={wrong}"])


def test_a_queue_gives_fewer_than_the_machine_has(monkeypatch):
    monkeypatch.setattr(processors, "_allowed", lambda: set(range(16)))
    monkeypatch.setattr(processors, "_quota", lambda: None)
    for name in processors._GRANTS:
        monkeypatch.delenv(name, raising=False)
    assert processors.available() == 16
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "8")
    assert processors.available() == 8
    monkeypatch.setenv("NSLOTS", "1")
    assert processors.available() == 1


def variables(**given: str) -> dict[str, str]:
    """What libraries are told about threads when a command has begun."""
    code = (
        "import os, sys\nfrom dkt.bin import main\nassert main(['--version']) == 0\n"
        "assert 'numpy' not in sys.modules and 'torch' not in sys.modules\n"
        "print({n: v for n, v in os.environ.items() if '_NUM_THREADS' in n or n in "
        "('OMP_WAIT_POLICY', 'KMP_BLOCKTIME', 'GOMP_SPINCOUNT')})"
    )
    told = ("OMP_", "GOMP_", "KMP_")
    clean = {n: v for n, v in os.environ.items() if "_NUM_THREADS" not in n and not n.startswith(told)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | given, capture_output=True, text=True, check=True
    )
    return ast.literal_eval(done.stdout.splitlines()[-1])


def test_libraries_are_told_before_they_are_loaded_unless_the_user_has():
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"), "1")
    sleep = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
    assert variables() == one | sleep
    assert variables(OPENBLAS_NUM_THREADS="4") == one | sleep | {"OPENBLAS_NUM_THREADS": "4"}
    assert variables(OMP_NUM_THREADS="4", OMP_WAIT_POLICY="active") == {
        "OMP_NUM_THREADS": "4",
        "OMP_WAIT_POLICY": "active",
        "KMP_BLOCKTIME": "0",
    }
    assert variables(GOMP_SPINCOUNT="100") == one | {"GOMP_SPINCOUNT": "100"}
