"""The table of a report: a row per system and a row per seed, as Markdown and comma-separated values."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dkt.base.files import replace_file
from dkt.report.comparisons import Comparison, Evaluation
from dkt.report.systems import DECODED, Experiment, System

#: What stands in the column ``seed`` of the row of a system, all of its seeds together.
ALL_SEEDS = "all"
PARTS = tuple(DECODED)
_EDITS = ("ins", "del", "sub")
_SMALLEST_P = 0.001
_MISSING = "-"


@dataclass(frozen=True)
class Row:
    """A system, or one of its seeds; values in percent but ``cv_loss`` (nats per frame), None where unknown.

    Attributes:
        system: its name.
        seed: of one run, 0 where it has none; or ``ALL_SEEDS``.
        num_seeds: how many runs the values are means of.
        num_params: parameters of the model.
        values: by the names of the columns of ``results.csv``.
    """

    system: str
    seed: int | str
    num_seeds: int
    num_params: int | None
    values: Mapping[str, float | None] = field(default_factory=dict)


def value_columns(references: Sequence[str]) -> list[str]:
    """The columns of ``results.csv`` that hold values, those of earlier versions first."""
    return [
        *("train_frame_acc", "cv_frame_acc", "dev_wer", "test_wer"),
        *("cv_loss", "train_frame_acc_sd", "cv_frame_acc_sd"),
        *(
            f"{part}_{what}"
            for part in PARTS
            for what in ("wer_sd", "wer_low", "wer_high", *_EDITS, *(f"p_vs_{name}" for name in references))
        ),
    ]


def make_rows(
    systems: Sequence[System],
    evaluations: Mapping[str, Evaluation],
    comparisons: Iterable[Comparison],
) -> list[Row]:
    """A row for each run, in the order of the systems, then a row for each system.

    Args:
        systems: the systems.
        evaluations: by ``dev`` and ``test``, of those that there are.
        comparisons: of systems to references.
    """
    compared = list(comparisons)
    rows = [
        Row(run.system, run.seed or 0, 1, run.num_params, _values([run], evaluations))
        for system in systems
        for run in system.runs
    ]
    for system in systems:
        p_values = {f"{c.part}_p_vs_{c.reference}": c.p_holm for c in compared if c.system == system.name}
        sizes = {run.num_params for run in system.runs}
        size = sizes.pop() if len(sizes) == 1 else None
        rows.append(
            Row(
                system.name,
                ALL_SEEDS,
                len(system.runs),
                size,
                {**_values(system.runs, evaluations), **p_values},
            )
        )
    return rows


def _values(runs: Sequence[Experiment], evaluations: Mapping[str, Evaluation]) -> dict[str, float | None]:
    """Means, standard deviations and intervals of runs of one system."""

    def put(name: str, of_run: Callable[[Experiment], float | None], spread: bool = False) -> None:
        known = [value for value in map(of_run, runs) if value is not None]
        values[name] = statistics.mean(known) if known else None
        if spread:
            values[f"{name}_sd"] = statistics.stdev(known) if len(known) > 1 else None

    values: dict[str, float | None] = {}
    put("train_frame_acc", lambda run: _kept(run, "train_frame_acc"), spread=True)
    put("cv_frame_acc", lambda run: _kept(run, "cv_frame_acc"), spread=True)
    put("cv_loss", lambda run: _kept(run, "cv_loss"))
    for part in PARTS:
        put(f"{part}_wer", partial(_wer, part=part), spread=True)
        for edit in _EDITS:
            put(f"{part}_{edit}", partial(_edit_rate, part=part, edit=edit))
        bounds = evaluations[part].interval(runs) if part in evaluations else None
        values[f"{part}_wer_low"], values[f"{part}_wer_high"] = bounds or (None, None)
    return values


def _kept(run: Experiment, name: str) -> float | None:
    return None if run.kept is None else run.kept.get(name)


def _wer(run: Experiment, part: str) -> float | None:
    return run.scored[part].best.wer if part in run.scored else None


def _edit_rate(run: Experiment, part: str, edit: str) -> float | None:
    if part not in run.scored:
        return None
    best = run.scored[part].best
    count = getattr(best, f"num_{edit}")
    return None if count is None or not best.num_words else 100.0 * count / best.num_words


def save_results(path: Path, rows: Sequence[Row], references: Sequence[str] = ()) -> None:
    """Write the rows as comma-separated values, empty where there is no figure.

    Raises:
        DktError: the file cannot be written.
    """
    columns = value_columns(references)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["system", "seed", *columns[:4], "num_seeds", "num_params", *columns[4:]])
    for row in rows:
        cells = [_number(name, row.values.get(name)) for name in columns]
        sizes = [str(row.num_seeds), "" if row.num_params is None else str(row.num_params)]
        writer.writerow([row.system, row.seed, *cells[:4], *sizes, *cells[4:]])
    replace_file(path, stream.getvalue().encode())


def _number(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if "_p_vs_" in name:
        return f"{value:.4g}"
    return f"{value:.4f}" if name == "cv_loss" else f"{value:.2f}"


def table_cells(rows: Sequence[Row], references: Sequence[str]) -> list[list[str]]:
    """The table with its head, of rows of systems or of seeds; columns that no row fills are left out.

    p values are Holm's, of dev and of test with a stroke between them.
    """
    seeds = "seeds" if all(row.seed == ALL_SEEDS for row in rows) else "seed"
    head = ["system", seeds, "parameters", "train frame acc", "cv frame acc", "cv loss"]
    for part in PARTS:
        head += [f"{part} WER", f"{part} 95 %", f"{part} ins/del/sub"]
    head += [f"p vs {name} ({'/'.join(PARTS)})" for name in references]
    table = [head, *(_cells(row, references) for row in rows)]
    empty = [
        place
        for place in range(2, len(head))
        if all(set(line[place]) <= {_MISSING, "/"} for line in table[1:])
    ]
    # Those of earlier versions are always there.
    empty = [place for place in empty if head[place] not in _ALWAYS]
    return [[cell for place, cell in enumerate(line) if place not in empty] for line in table]


_ALWAYS = ("train frame acc", "cv frame acc", "dev WER", "test WER")


def _cells(row: Row, references: Sequence[str]) -> list[str]:
    values = row.values

    def mean(name: str) -> str:
        spread = values.get(f"{name}_sd")
        return _shown(name, values[name]) + (f" ±{_number(name, spread)}" if spread is not None else "")

    seed = row.num_seeds if row.seed == ALL_SEEDS else row.seed
    size = _MISSING if row.num_params is None else f"{row.num_params:,}"
    cells = [row.system, str(seed), size, mean("train_frame_acc"), mean("cv_frame_acc")]
    cells.append(_shown("cv_loss", values["cv_loss"]))
    for part in PARTS:
        low, high = values[f"{part}_wer_low"], values[f"{part}_wer_high"]
        bounds = _MISSING if low is None or high is None else f"{low:.2f} to {high:.2f}"
        edits = [_shown(edit, values[f"{part}_{edit}"]) for edit in _EDITS]
        cells += [mean(f"{part}_wer"), bounds, _MISSING if _MISSING in edits else "/".join(edits)]
    for name in references:
        told = [p_text(values.get(f"{part}_p_vs_{name}")) for part in PARTS]
        cells.append("/".join(told) if set(told) != {_MISSING} else _MISSING)
    return cells


def _shown(name: str, value: float | None) -> str:
    return _number(name, value) or _MISSING


def p_text(p: float | None) -> str:
    """A p value as it reads in a table."""
    if p is None:
        return _MISSING
    return f"{p:.3f}" if p >= _SMALLEST_P else f"<{_SMALLEST_P:g}"


def comparison_cells(comparisons: Iterable[Comparison]) -> list[list[str]]:
    """The table of the paired differences with its head."""
    head = ["system", "reference", "data", "seeds of both", "difference", "95 %", "p", "p (Holm)"]
    return [head] + [
        [
            *(c.system, c.reference, c.part),
            str(c.num_seeds) if c.num_seeds else "means",
            f"{c.difference:+.2f}",
            f"{c.low:+.2f} to {c.high:+.2f}",
            p_text(c.p),
            p_text(c.p_holm),
        ]
        for c in comparisons
    ]


def as_text(table: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table as Markdown that reads well on a terminal, the first ``left`` columns aligned to the left."""
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in table]
    widths = [max(len(row[i]) for row in escaped) for i in range(len(escaped[0]))]
    # A colon aligns numbers to the right where Markdown is drawn.
    rule = ["-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines = [escaped[0], rule, *escaped[1:]]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in lines
    )
