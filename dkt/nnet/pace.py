"""How many threads a training takes: as many as pay, found out by its own steps.

Other programs come and go, and threads that wait for each other lose more by a busy processor than they gain
by a free one. So the steps of a training are timed with one number of threads and with another, in turns;
twice as many must be worth it, and are given up when the machine has no room for them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)

#: Twice as many threads must be so many times as fast: the processors are others' too.
GAIN = 1.1
#: And are kept as long as they are so many times as fast.
KEPT_GAIN = 1.05
#: More do not pay for networks of this size, and the processors of a large machine are nobody's own.
MOST = 8
#: Of threads that compute different things, each of which needs memory.
MOST_WORKERS = 4
# A comparison is of so many rounds, each a window of steps with either number.
_ROUNDS = 3
_WINDOW_SECONDS = 0.1
_WINDOW_STEPS = 3
# The steps after a change are not timed, as threads wake up; nor are those in which products of new shapes
# were tried, which may take so many times as long, unless there is no end of them.
_SETTLING_STEPS = 3
_TRYING_STEPS = 100
_TRYING_COST = 3.0
# What is so many times slower than the window before it, or costs so many windows, ends a comparison.
_HOPELESS = 2.5
_LOST_WINDOWS = 3.0
# How often others are looked at, and how often more threads than one are questioned.
_LOOK_SECONDS = 0.5
_QUESTION_SECONDS = 60.0
# After more threads were given up: the shortest and the longest time to the next try.
_WAIT_SECONDS = (5.0, 600.0)
# The share of the time that lost comparisons may cost.
_COST = 0.01
# Processors that others may keep busy while all are used: a little work goes on on every machine.
_TOLERANCE = 0.4
# A change of what others use that makes a machine another one.
_CHANGE = 0.5


@dataclass
class _Window:
    """Steps with one number of threads."""

    amount: int = 0
    seconds: float = 0.0
    steps: int = 0

    def add(self, amount: int, seconds: float) -> None:
        self.amount += amount
        self.seconds += seconds
        self.steps += 1

    @property
    def full(self) -> bool:
        return self.steps >= _WINDOW_STEPS and self.seconds >= _WINDOW_SECONDS

    @property
    def pace(self) -> float:
        """Seconds for one unit of work."""
        return self.seconds / max(self.amount, 1)


class _Trial:
    """Another number of threads in turns with the present one."""

    def __init__(self, present: int, other: int) -> None:
        self.present, self.other = present, other
        self._windows = [_Window()]
        self._settling = self._trying = 0
        self._given_up = False
        #: Seconds that the other number has lost so far, against what was expected of it.
        self.cost = 0.0

    @property
    def now(self) -> int:
        """The number of threads of the next step."""
        return self.present if len(self._windows) % 2 else self.other

    def add(self, amount: int, seconds: float, typical: bool) -> bool:
        """Add a step; whether the comparison is over."""
        window = self._windows[-1]
        if self.now == self.other:
            before = self._windows[-2]
            self.cost += seconds - amount * before.pace * (1.0 if typical else _TRYING_COST)
            self._given_up = self.cost > _LOST_WINDOWS * before.seconds
        if not typical and self._trying < _TRYING_STEPS:
            self._trying += 1
            return self._given_up
        if self._settling:
            self._settling -= 1
            return self._given_up
        window.add(amount, seconds)
        if not window.full or self._given_up:
            return self._given_up
        if self.now == self.other and window.pace > _HOPELESS * self._windows[-2].pace:
            self._given_up = True
            return True
        if len(self._windows) == 2 * _ROUNDS:
            return True
        self._windows.append(_Window())
        self._settling = _SETTLING_STEPS
        return False

    @property
    def speedup(self) -> float:
        """How many times as fast the other number is, the median of the rounds; 0 where it was hopeless."""
        if self._given_up:
            return 0.0
        pairs = zip(self._windows[::2], self._windows[1::2], strict=True)
        return sorted(one.pace / other.pace for one, other in pairs)[_ROUNDS // 2]


class Pace:
    """As many threads as pay, by powers of two, beginning with one (a ``Policy`` of ``dkt.nnet.threads``).

    Args:
        processors: that this process may use.
        spare: processors that other programs have left since it was last asked, which may be more; None if
            nobody knows.
        clock: seconds.
    """

    def __init__(
        self,
        processors: int,
        spare: Callable[[], float | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.processors = processors
        self._spare, self._clock = spare, clock
        self._number = 1
        self._trial: _Trial | None = None
        #: Of our processors, what others used when it was last looked at; at first nothing is free.
        self._busy: float | None = None
        self._free = 1
        self._looked = clock()
        self._next_try, self._wait = self._looked, _WAIT_SECONDS[0]
        self._next_question = self._looked
        self._busy_at_loss = 0.0
        self._said: str | None = None

    def count(self) -> int:
        """As ``Policy``."""
        return self._number if self._trial is None else self._trial.now

    def workers(self) -> int:
        """As ``Policy``: as many as there are free processors, since these do not wait for each other."""
        self._look()
        return min(self._free, MOST_WORKERS)

    def took(self, amount: int, seconds: float, typical: bool = True) -> None:
        """As ``Policy``."""
        if self._trial is not None and self._trial.add(amount, seconds, typical):
            self._decide(self._trial)
        self._look()
        if self._trial is None:
            self._consider()

    def _look(self) -> None:
        now = self._clock()
        if self.processors == 1 or now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        spare = self._spare()
        self._busy = 0.0 if spare is None else max(0.0, self.processors - spare)
        self._free = max(1, int(self.processors - self._busy + _TOLERANCE))
        if self._busy < self._busy_at_loss - _CHANGE:
            self._wait, self._next_try = _WAIT_SECONDS[0], min(self._next_try, now + _WAIT_SECONDS[0])
            self._busy_at_loss = self._busy
        needed = self._number if self._trial is None else max(self._trial.present, self._trial.other)
        if needed > self._free:
            self._trial = None
            self._give_up(min(self._number, 1 << (self._free.bit_length() - 1)))
        if self._number == 1 and self._free == 1:
            self._say(f"other programs keep {self._busy:.1f} of {self.processors} processors busy")

    def _consider(self) -> None:
        """Begin a comparison if it is time for one."""
        now, twice = self._clock(), 2 * self._number
        if twice <= min(self._free, MOST) and now >= self._next_try:
            self._trial = _Trial(self._number, twice)
        elif self._number > 1 and now >= self._next_question:
            self._trial = _Trial(self._number, self._number // 2)

    def _decide(self, trial: _Trial) -> None:
        self._trial, now, speedup = None, self._clock(), trial.speedup
        if trial.other > trial.present:
            if speedup >= GAIN:
                self._number = trial.other
                self._next_question = now + _QUESTION_SECONDS
                self._say(f"{speedup:.2f} times as fast as {trial.present}")
                return
            self._give_up(trial.present, trial.cost)
            how = f"{speedup:.2f} times as fast" if speedup else "much slower"
            self._say(f"{trial.other} are {how}")
        elif speedup * KEPT_GAIN > 1.0:
            self._give_up(trial.other, trial.cost)
            self._say(f"{trial.present} are {1.0 / speedup:.2f} times as fast")
        else:
            self._wait, self._next_question = _WAIT_SECONDS[0], now + _QUESTION_SECONDS

    def _give_up(self, number: int, cost: float = 0.0) -> None:
        """Use ``number`` threads, and more not before a time that grows from loss to loss."""
        self._number, now = number, self._clock()
        self._next_try = now + max(self._wait, cost / _COST)
        self._wait = min(2.0 * self._wait, _WAIT_SECONDS[1])
        self._next_question = now + _QUESTION_SECONDS
        self._busy_at_loss = self._busy or 0.0

    def _say(self, why: str) -> None:
        """One line where the number is another one than was said before, the first time included."""
        number = f"{self._number} CPU thread{'s' if self._number > 1 else ''}"
        logger.log(logging.DEBUG if self._said == number else logging.INFO, "%s: %s", number, why)
        self._said = number
