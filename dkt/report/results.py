"""What a report tells, whatever it is written as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dkt.report.comparisons import Comparison, Evaluation, method_text
from dkt.report.systems import System
from dkt.report.table import ALL_SEEDS, Row

if TYPE_CHECKING:
    from dkt.report.beliefs import Beliefs


@dataclass(frozen=True)
class Results:
    """What is reported.

    Attributes:
        systems: the systems.
        references: names of those that the others are compared with.
        rows: of the table, of seeds and of systems.
        evaluations: of each part of the data that was scored.
        comparisons: the paired differences.
        replications: of the bootstrap.
        beliefs: what the networks believe; None where nobody has looked.
        notes: what is missing.
    """

    systems: Sequence[System]
    references: Sequence[str]
    rows: Sequence[Row]
    evaluations: Mapping[str, Evaluation]
    comparisons: Sequence[Comparison]
    replications: int
    beliefs: Beliefs | None
    notes: Sequence[str]

    @property
    def method(self) -> str:
        """How intervals and p were computed."""
        return method_text(list(self.evaluations.values()), self.replications, self.comparisons)

    @property
    def of_systems(self) -> list[Row]:
        """The rows of systems."""
        return [row for row in self.rows if row.seed == ALL_SEEDS]

    @property
    def of_seeds(self) -> list[Row]:
        """The rows of seeds; none where no system has several."""
        seeds = [row for row in self.rows if row.seed != ALL_SEEDS]
        return seeds if len(seeds) > len(self.of_systems) else []
