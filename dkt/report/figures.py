"""The figures of a report, drawn by matplotlib into SVG: they need no script and no network to be seen.

A figure is as wide as a column of the page, so that its letters can be read on a telephone.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from dkt.base.files import replace_file
from dkt.base.findings import shorten
from dkt.report.beliefs import ENTROPY_EDGES, Beliefs, Posteriorgram
from dkt.report.systems import DECODED, System
from dkt.report.table import ALL_SEEDS, Row

# Okabe and Ito's colours, which colour-blind people tell apart, without the yellow that white swallows. More
# follow, for more systems.
_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000"),
    *("#9A6700", "#6F4E9C", "#8B1A1A", "#7A9A01", "#7F7F7F", "#F28E8E"),
)
_LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
_WIDTH = 4.6  # inches
_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar in a name is a dollar
    # Letters are the reader's: names may be of any script.
    "svg.fonttype": "none",
    # Names of parts, the same at every call.
    "svg.hashsalt": "dkt",
}
_LONGEST_NAME = 28
# A phone is drawn if it has this posterior in some frame.
_SEEN = 0.2
# Of the width of the alignment, what a letter takes.
_LETTER = 0.016
_CURVES = {"loss": "loss less target entropy (nats per frame)", "frame_acc": "frame accuracy (%)"}


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        name: of its place in the page.
        title: over it.
        alt: what it shows, in words, for who cannot see it.
        caption: how to read it.
        svg: the drawing.
        wide: it takes the whole width of the page.
    """

    name: str
    title: str
    alt: str
    caption: str
    svg: bytes
    wide: bool = False


def has_matplotlib() -> bool:
    """Whether figures can be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


class _Look:
    """The colour and the lines of each system, the same in all figures."""

    def __init__(self, systems: Sequence[System]) -> None:
        self._places = {system.name: place for place, system in enumerate(systems)}

    def colour(self, name: str) -> str:
        """Of lines and points."""
        return _COLOURS[self._places[name] % len(_COLOURS)]

    def label(self, name: str) -> str:
        """Its name as a figure has room for it; matplotlib hides a label that begins with ``_``."""
        return f" {shorten(name, _LONGEST_NAME)}" if name.startswith("_") else shorten(name, _LONGEST_NAME)

    def line(self, name: str) -> Any:
        """The style of its lines, which tells systems apart beyond the number of colours."""
        return _LINES[self._places[name] // len(_COLOURS) % len(_LINES)]


def _draw(
    height: float,
    paint: Callable[[Any], None],
    width: float = _WIDTH,
    ratios: Sequence[float] = (1.0,),
    form: str = "svg",
) -> bytes:
    """A figure of so many inches; ``paint`` is given its axes, or a list of those above each other."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios))
        stream = io.BytesIO()
        # No date: the same results make the same page.
        metadata = {"Date": None, "Creator": None} if form == "svg" else None
        figure.savefig(stream, format=form, dpi=150, metadata=metadata)
    return stream.getvalue()


def draw_all(
    systems: Sequence[System], rows: Sequence[Row], beliefs: Beliefs | None, units: Mapping[str, Any]
) -> list[Picture]:
    """All figures that there is something to draw of.

    Args:
        systems: the systems.
        rows: those of the table, of systems and of seeds.
        beliefs: what the networks believe; None where nobody has looked.
        units: by part its ``Evaluation``.
    """
    look = _Look(systems)
    pictures = [
        _word_errors(rows, look),
        *(_learning_curve(systems, look, quantity) for quantity in _CURVES),
        _gap(rows, look),
        _speakers(systems, units, look),
    ]
    if beliefs is not None:
        pictures += [
            _reliability(beliefs, look),
            _entropy(beliefs, look),
            _posteriorgram(beliefs.posteriorgram, look),
        ]
    return [picture for picture in pictures if picture is not None]


def _by_rows(axis: Any, names: Sequence[str]) -> None:
    """A row for each system, the first at the top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(axis="x", alpha=0.3)


def _rows_height(count: float) -> float:
    return 0.9 + 0.36 * count


def _word_errors(rows: Sequence[Row], look: _Look) -> Picture | None:
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
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(parts))
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
        _draw(_rows_height(1.25 * len(pooled)), paint),
    )


def _learning_curve(systems: Sequence[System], look: _Look, quantity: str) -> Picture | None:
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
        _draw(3.2 + 0.1 * len(systems), lambda axis: _paint_curves(axis, systems, look, quantity)),
    )


def _paint_curves(axis: Any, systems: Sequence[System], look: _Look, quantity: str) -> None:
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
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def save_learning_curves(path: Path, systems: Sequence[System]) -> bool:
    """Write a picture of the learning curves, loss over frame accuracy, PNG or PDF by its name.

    Returns:
        Whether there was anything to draw, and matplotlib to draw it.

    Raises:
        DktError: the file cannot be written.
    """
    if not has_matplotlib() or not any(run.history for system in systems for run in system.runs):
        return False
    look = _Look(systems)

    def paint(axes: Any) -> None:
        for axis, quantity in zip(axes, _CURVES, strict=True):
            _paint_curves(axis, systems, look, quantity)
        axes[1].get_legend().remove()

    replace_file(path, _draw(7.5, paint, width=7.0, ratios=(1.0, 1.0), form=path.suffix[1:] or "png"))
    return True


def _gap(rows: Sequence[Row], look: _Look) -> Picture | None:
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
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        _by_rows(axis, list(map(look.label, gaps)))

    told = "; ".join(f"{name} {train:.1f} and {cv:.1f}" for name, (cv, train) in gaps.items())
    return Picture(
        "gap",
        "Training data against cross-validation",
        f"Frame accuracy in percent on training data and in cross-validation: {told}.",
        "Of the epoch that was kept, means over seeds. The number is the gap between the two.",
        _draw(_rows_height(len(gaps)), paint),
    )


def _speakers(systems: Sequence[System], units: Mapping[str, Any], look: _Look) -> Picture | None:
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
        _draw(_rows_height(1.2 * len(rates)), paint),
    )


def _reliability(beliefs: Beliefs, look: _Look) -> Picture:
    def paint(axis: Any) -> None:
        axis.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":")
        for name, found in beliefs.calibration.items():
            full = found.bins[found.bins[:, 0] > 0]
            label = f"{look.label(name)} (ECE {found.ece:.1f} %)"
            axis.plot(
                full[:, 1],
                full[:, 2],
                "o",
                markersize=3,
                color=look.colour(name),
                linestyle=look.line(name),
                label=label,
            )
        axis.set_xlabel("confidence: the largest posterior")
        axis.set_ylabel("share of frames with that label")
        axis.set_xlim(0, 1)
        axis.set_ylim(0, 1)
        axis.grid(alpha=0.3)
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1)

    told = ", ".join(f"{name} {found.ece:.1f}" for name, found in beliefs.calibration.items())
    return Picture(
        "reliability",
        "Reliability",
        f"Reliability diagram on dev labels. Expected calibration error in percent: {told}.",
        "On the dotted line a network is right as often as it is sure; below it, it is too sure. "
        "ECE: expected calibration error.",
        _draw(3.4 + 0.17 * len(beliefs.calibration), paint),
    )


def _entropy(beliefs: Beliefs, look: _Look) -> Picture:
    def paint(axis: Any) -> None:
        for name, found in beliefs.calibration.items():
            shares = 100.0 * np.cumsum(found.entropies) / max(found.num_frames, 1)
            label = f"{look.label(name)} (mean {found.entropy:.2f})"
            axis.plot(
                ENTROPY_EDGES,
                [0.0, *shares],
                color=look.colour(name),
                linestyle=look.line(name),
                label=label,
            )
        axis.set_xlabel("entropy of the posteriors (nats)")
        axis.set_ylabel("frames at or below it (%)")
        axis.set_xlim(0, ENTROPY_EDGES[-1])
        axis.set_ylim(0, 100)
        axis.grid(alpha=0.3)
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1)

    told = ", ".join(f"{name} {found.entropy:.2f}" for name, found in beliefs.calibration.items())
    return Picture(
        "entropy",
        "Entropy of the posteriors",
        f"Distribution of the entropy of the posteriors on dev. Means in nats: {told}.",
        "The further to the left and up, the sharper a network's posteriors are.",
        _draw(3.4 + 0.17 * len(beliefs.calibration), paint),
    )


def _posteriorgram(found: Posteriorgram | None, look: _Look) -> Picture | None:
    if found is None:
        return None
    # In the order in which the alignment has them, the others behind.
    aligned = list(dict.fromkeys(found.labels.tolist()))
    largest = np.max([post.max(axis=0) for post in found.post.values()], axis=0)
    shown = aligned + [phone for phone in np.flatnonzero(largest >= _SEEN).tolist() if phone not in aligned]
    panel = 0.3 + 0.125 * len(shown)
    ratios = [*(panel for _ in found.post), 0.3]

    def paint(axes: Any) -> None:
        *panels, strip = axes
        for axis, (name, post) in zip(panels, found.post.items(), strict=True):
            _paint_posteriors(
                axis, post[:, shown], [found.phones[phone] for phone in shown], found.frame_shift
            )
            axis.set_title(look.label(name), loc="left")
        _paint_alignment(strip, found)

    names = ", ".join(found.post)
    words = " ".join(found.phones[phone] for phone, _, _ in _segments(found.labels))
    return Picture(
        "posteriorgram",
        f"Posteriorgram of {found.utt}",
        f"Posteriors of phones over time in utterance {found.utt}, for {names}. The alignment is: {words}.",
        "Dark is likely; pdfs are folded into phones, in the order in which the alignment has them. "
        "Below: the alignment.",
        _draw(0.6 + sum(ratios), paint, ratios=ratios),
        wide=True,
    )


def _paint_posteriors(axis: Any, post: np.ndarray, names: Sequence[str], frame_shift: float) -> None:
    extent = (0.0, len(post) * frame_shift, len(names) - 0.5, -0.5)
    axis.imshow(
        post.T, aspect="auto", cmap="Blues", vmin=0.0, vmax=1.0, extent=extent, interpolation="nearest"
    )
    axis.set_yticks(range(len(names)), names, fontsize=7)
    axis.tick_params(axis="y", length=0)


def _segments(labels: np.ndarray) -> list[tuple[int, int, int]]:
    """Phone, first frame and the frame behind the last, of each stretch of one phone."""
    edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    return [(int(labels[b]), b, e) for b, e in pairwise(edges)]


def _paint_alignment(axis: Any, found: Posteriorgram) -> None:
    for number, (phone, begin, end) in enumerate(_segments(found.labels)):
        start, stop = begin * found.frame_shift, end * found.frame_shift
        axis.axvspan(start, stop, color="#DDDDDD" if number % 2 else "#F3F3F3", linewidth=0)
        name = found.phones[phone]
        if end - begin >= _LETTER * len(name) * len(found.labels):
            axis.text((start + stop) / 2, 0.5, name, ha="center", va="center", fontsize=7)
    axis.set_yticks([])
    axis.set_ylim(0, 1)
    axis.set_xlabel("time (s)")
