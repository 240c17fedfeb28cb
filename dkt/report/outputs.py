"""The files of a report: ``results.csv``, ``results.md``, ``report.html`` and ``learning_curves.png``."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from dkt.base.files import cannot_write, replace_file
from dkt.report.drawing import has_matplotlib
from dkt.report.figures import draw_all, save_learning_curves
from dkt.report.page import page_html
from dkt.report.results import Results
from dkt.report.table import as_text, comparison_cells, save_results, table_cells

logger = logging.getLogger(__name__)


def tables(results: Results) -> list[str]:
    """The table of systems and, where one has several seeds, that of seeds, in Markdown."""
    found = [as_text(table_cells(results.of_systems, results.references))]
    return [*found, as_text(table_cells(results.of_seeds, ()))] if results.of_seeds else found


def write_report(out: Path, results: Results) -> list[str]:
    """Write the files of a report.

    Args:
        out: the directory, made if it is not there.
        results: what to write.

    Returns:
        Lines that tell which there are.

    Raises:
        DktError: a file cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from None
    save_results(out / "results.csv", results.rows, results.references)
    replace_file(out / "results.md", _markdown(results).encode())
    told = [f"figures: {out}/results.csv, {out}/results.md"]
    pictures = []
    if has_matplotlib():
        pictures = draw_all(results)
        if save_learning_curves(out / "learning_curves.png", results.systems):
            told.append(f"learning curves: {out}/learning_curves.png")
    else:
        logger.warning("no figures: pip install 'dkt[report]'")
        results = replace(results, notes=[*results.notes, "no figures: matplotlib is not installed"])
    replace_file(out / "report.html", page_html(results, pictures).encode())
    return [*told, f"page: {out}/report.html"]


def _markdown(results: Results) -> str:
    """The tables and notes, to paste into a RESULTS.md."""
    parts = [*tables(results), results.method]
    if results.comparisons:
        parts.append(as_text(comparison_cells(results.comparisons), left=3))
    if results.notes:
        parts.append("\n".join(f"- {note}" for note in results.notes))
    return "\n\n".join(filter(None, parts)) + "\n"
