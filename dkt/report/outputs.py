"""The files of a report: ``results.csv``, ``results.md``, ``report.html`` and ``learning_curves.png``."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dkt.base.files import cannot_write, replace_file
from dkt.report.comparisons import Comparison, Evaluation, method_text
from dkt.report.figures import draw_all, has_matplotlib, save_learning_curves
from dkt.report.page import page_html
from dkt.report.systems import System
from dkt.report.table import ALL_SEEDS, Row, as_text, comparison_cells, save_results, table_cells

if TYPE_CHECKING:
    from dkt.report.beliefs import Beliefs

logger = logging.getLogger(__name__)


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

    def tables(self) -> list[str]:
        """The table of systems and, where one has several seeds, that of seeds, in Markdown."""
        pooled = [row for row in self.rows if row.seed == ALL_SEEDS]
        seeded = [row for row in self.rows if row.seed != ALL_SEEDS]
        tables = [as_text(table_cells(pooled, self.references))]
        return [*tables, as_text(table_cells(seeded, ()))] if len(seeded) > len(pooled) else tables


def write_report(out: Path, report: Results) -> list[str]:
    """Write the files of a report.

    Args:
        out: the directory, made if it is not there.
        report: what to write.

    Returns:
        Lines that tell which there are.

    Raises:
        DktError: a file cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from None
    save_results(out / "results.csv", report.rows, report.references)
    replace_file(out / "results.md", _markdown(report).encode())
    told = [f"figures: {out}/results.csv, {out}/results.md"]
    pictures = []
    notes = list(report.notes)
    if has_matplotlib():
        pictures = draw_all(report.systems, report.rows, report.beliefs, report.evaluations)
        if save_learning_curves(out / "learning_curves.png", report.systems):
            told.append(f"learning curves: {out}/learning_curves.png")
    else:
        logger.warning("no figures: pip install 'dkt[report]'")
        notes.append("no figures: matplotlib is not installed")
    page = page_html(
        report.systems,
        report.rows,
        report.references,
        report.comparisons,
        report.evaluations,
        report.beliefs,
        pictures,
        notes,
        report.method,
    )
    replace_file(out / "report.html", page.encode())
    return [*told, f"page: {out}/report.html"]


def _markdown(report: Results) -> str:
    """The tables and notes, to paste into a RESULTS.md."""
    parts = [*report.tables(), report.method]
    if report.comparisons:
        parts.append(as_text(comparison_cells(report.comparisons), left=3))
    if report.notes:
        parts.append("\n".join(f"- {note}" for note in report.notes))
    return "\n\n".join(filter(None, parts)) + "\n"
