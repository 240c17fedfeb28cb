"""The figures of word error rates and trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dkt.base.files import replace_file
from dkt.report.comparisons import Evaluation
from dkt.report.drawing import Look, Picture, draw, has_matplotlib, legend_above
from dkt.report.posterior_figures import draw_posteriors
from dkt.report.results import Results
from dkt.report.systems import DECODED, System
from dkt.report.table import ALL_SEEDS, Row

_CURVES = {"loss": "loss less target entropy (nats per frame)", "frame_acc": "frame accuracy (%)"}


def draw_all(results: Results) -> list[Picture]:
    """All figures that there is something to draw of."""
    systems, rows = results.systems, results.rows
    look = Look([system.name for system in systems])
    pictures = [
        _word_errors(rows, look),
        *(_learning_curve(systems, look, quantity) for quantity in _CURVES),
        _gap(rows, look),
        _speakers(systems, results.evaluations, look),
    ]
    if results.beliefs is not None:
        pictures += draw_posteriors(results.beliefs, look)
    return [picture for picture in pictures if picture is not None]


def _by_rows(axis: Any, names: Sequence[str]) -> None:
    """A row for each system, the first at the top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(axis="x", alpha=0.3)


def _rows_height(count: float) -> float:
    return 0.9 + 0.36 * count


def _word_errors(rows: Sequence[Row], look: Look) -> Picture | None:
    pooled = [row for row in rows if row.seed == ALL_SEEDS]
    parts = [part for part in DECODED if any(row.values[f"{part}_wer"] is not None for row in pooled)]
    if not parts:
        return None
    marks = {"dev": ("o", "white", -0.17), "test": ("s", None, 0.17)}

    def paint(axis: Any) -> None:
        for place, row in enumerate(pooled):
            colour = look.colour(row.system)
            for part in parts:
                mark, face, shift = marks[part]
                wer, low, high = (row.values[f"{part}_wer{end}"] for end in ("", "_low", "_high"))
                if wer is None:
                    continue
                if low is not None and high is not None:
                    axis.plot([low, high], [place + shift] * 2, color=colour, linewidth=1.4)
                axis.plot(
                    wer, place + shift, mark, color=colour, markerfacecolor=face or colour, markersize=5
                )
                of_seeds = [
                    r.values[f"{part}_wer"] for r in rows if r.system == row.system and r.seed != ALL_SEEDS
                ]
                if len(of_seeds) > 1:
                    axis.plot(
                        of_seeds, [place + shift] * len(of_seeds), "|", color="black", markersize=5, alpha=0.7
                    )
        for part in parts:
            mark, face, _ = marks[part]
            axis.plot([], [], mark, color="black", markerfacecolor=face or "black", markersize=5, label=part)
        axis.set_xlabel("word error rate (%)")
        legend_above(axis, len(parts))
        _by_rows(axis, [look.label(row.system) for row in pooled])

    def told(row: Row) -> str:
        return " and ".join(
            f"{row.values[f'{part}_wer']:.2f} on {part}"
            for part in parts
            if row.values[f"{part}_wer"] is not None
        )

    figures = "; ".join(f"{row.system} {told(row)}" for row in pooled if told(row))
    return Picture(
        "wer",
        "Word error rates",
        f"Word error rates in percent with their 95 % intervals: {figures}.",
        "Points: means over seeds; lines: 95 % intervals over speakers and seeds; strokes: single seeds.",
        draw(_rows_height(1.25 * len(pooled)), paint),
    )


def _learning_curve(systems: Sequence[System], look: Look, quantity: str) -> Picture | None:
    if not any(run.history for system in systems for run in system.runs):
        return None
    ends = [
        f"{system.name} {run.kept[f'cv_{quantity}']:.2f}"
        for system in systems
        for run in system.runs[:1]
        if run.kept is not None
    ]
    return Picture(
        f"curve-{quantity.replace('_', '-')}",
        {"loss": "Loss by epoch", "frame_acc": "Frame accuracy by epoch"}[quantity],
        f"Learning curves: {_CURVES[quantity]} by epoch. Cross-validation, of the epoch that was kept: "
        f"{', '.join(ends)}.",
        "Dashed: training data; solid: cross-validation; a line each seed."
        + (" Losses compare within a mode and temperature only." if quantity == "loss" else ""),
        draw(3.2 + 0.1 * len(systems), lambda axis: _paint_curves(axis, systems, look, quantity)),
    )


def _paint_curves(axis: Any, systems: Sequence[System], look: Look, quantity: str) -> None:
    for system in systems:
        # One entry in the legend for all seeds of a system.
        label: str | None = look.label(system.name)
        for run in system.runs:
            if not run.history:
                continue
            epochs = [row["epoch"] for row in run.history]
            style: dict[str, Any] = {"color": look.colour(system.name), "linewidth": 1.3}
            axis.plot(epochs, [row[f"train_{quantity}"] for row in run.history], "--", alpha=0.6, **style)
            axis.plot(epochs, [row[f"cv_{quantity}"] for row in run.history], label=label, **style)
            label = None
    axis.set_xlabel("epoch")
    axis.set_ylabel(_CURVES[quantity])
    axis.grid(alpha=0.3)
    axis.xaxis.get_major_locator().set_params(integer=True)
    legend_above(axis, 2)


def save_learning_curves(path: Path, systems: Sequence[System]) -> bool:
    """Write a picture of the learning curves, loss over frame accuracy, PNG or PDF by its name.

    Returns:
        Whether there was anything to draw, and matplotlib to draw it.

    Raises:
        DktError: the file cannot be written.
    """
    if not has_matplotlib() or not any(run.history for system in systems for run in system.runs):
        return False
    look = Look([system.name for system in systems])

    def paint(axes: Any) -> None:
        for axis, quantity in zip(axes, _CURVES, strict=True):
            _paint_curves(axis, systems, look, quantity)
        axes[1].get_legend().remove()

    replace_file(path, draw(7.5, paint, width=7.0, ratios=(1.0, 1.0), form=path.suffix[1:] or "png"))
    return True


def _gap(rows: Sequence[Row], look: Look) -> Picture | None:
    known = [row for row in rows if row.seed == ALL_SEEDS and row.values["cv_frame_acc"] is not None]
    if not known:
        return None
    gaps = {
        row.system: (row.values["cv_frame_acc"] or 0.0, row.values["train_frame_acc"] or 0.0) for row in known
    }

    def paint(axis: Any) -> None:
        for place, (name, (cv, train)) in enumerate(gaps.items()):
            axis.plot([cv, train], [place, place], color=look.colour(name), linewidth=3, alpha=0.45)
            axis.plot(cv, place, "o", color=look.colour(name), markersize=6)
            axis.plot(train, place, "o", color=look.colour(name), markerfacecolor="white", markersize=6)
            axis.annotate(
                f"{train - cv:.1f}",
                ((cv + train) / 2, place),
                (0, 4),
                textcoords="offset points",
                ha="center",
            )
        axis.plot([], [], "o", color="black", label="cross-validation")
        axis.plot([], [], "o", color="black", markerfacecolor="white", label="training")
        axis.set_xlabel("frame accuracy (%)")
        legend_above(axis, 2)
        _by_rows(axis, list(map(look.label, gaps)))

    told = "; ".join(f"{name} {train:.1f} and {cv:.1f}" for name, (cv, train) in gaps.items())
    return Picture(
        "gap",
        "Training data against cross-validation",
        f"Frame accuracy in percent on training data and in cross-validation: {told}.",
        "Of the epoch that was kept, means over seeds. The number is the gap between the two.",
        draw(_rows_height(len(gaps)), paint),
    )


def _speakers(systems: Sequence[System], units: Mapping[str, Evaluation], look: Look) -> Picture | None:
    known = [units[part] for part in ("test", "dev") if part in units and units[part].unit == "speakers"]
    if not known:
        return None
    evaluation = known[0]
    rates = {s.name: evaluation.unit_rates(s) for s in systems if evaluation.runs(s)}

    def paint(axis: Any) -> None:
        for place, (name, values) in enumerate(rates.items()):
            # Speakers of about the same rate beside each other rather than on each other.
            order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
            shift = 0.24 * ((order % 5) / 2.0 - 1.0)
            axis.plot(values, place + shift, "o", color=look.colour(name), markersize=4, alpha=0.6)
            axis.plot([np.nanmedian(values)] * 2, [place - 0.36, place + 0.36], color="black", linewidth=1.5)
        axis.set_xlabel("word error rate (%)")
        _by_rows(axis, list(map(look.label, rates)))

    told = "; ".join(
        f"{name} {np.nanmin(v):.1f} to {np.nanmax(v):.1f}, median {np.nanmedian(v):.1f}"
        for name, v in rates.items()
    )
    return Picture(
        "speakers",
        f"Speakers of {evaluation.part}",
        f"Word error rates of the speakers of {evaluation.part}, in percent: {told}.",
        "A point is a speaker, a mean over seeds; the line is the median.",
        draw(_rows_height(1.2 * len(rates)), paint),
    )
