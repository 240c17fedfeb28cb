"""A picture of the learning curves of several networks."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

from dkt.base.files import replace_file
from dkt.train.history import load_history

logger = logging.getLogger(__name__)

_PANELS = {"loss": "loss less target entropy (nats per frame)", "frame_acc": "frame accuracy (%)"}


def plot_learning_curves(path: Path, systems: list[tuple[str, Path]]) -> bool:
    """Draw loss and frame accuracy by epoch, training dashed and cross-validation solid, a colour a system.

    Args:
        path: the picture to write, PNG or PDF.
        systems: names and experiment directories, the same name for several seeds; those without a learning
            curve are left out.

    Returns:
        Whether there was anything to draw and matplotlib to draw it.
    """
    curves = [(name, load_history(d / "history.csv")) for name, d in systems if (d / "history.csv").exists()]
    if not curves:
        return False
    try:
        import matplotlib
    except ImportError:
        logger.warning("no picture of the learning curves: pip install 'dkt[report]'")
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    for axis, (quantity, title) in zip(axes, _PANELS.items(), strict=True):
        _draw(axis, curves, quantity)
        axis.set_xlabel("epoch (dashed: training)")
        axis.set_title(title)
        axis.grid(alpha=0.3)
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[1].legend(fontsize=8)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120, format=path.suffix[1:] or "png")
    pyplot.close(figure)
    replace_file(path, picture.getvalue())
    return True


def _draw(axis: Any, curves: list[tuple[str, list[dict[str, float]]]], quantity: str) -> None:
    colours: dict[str, str] = {}
    for name, rows in curves:
        # One entry in the legend for all seeds of a system.
        label = name if name not in colours else None
        colour = colours.setdefault(name, f"C{len(colours)}")
        epochs = [row["epoch"] for row in rows]
        axis.plot(epochs, [row[f"train_{quantity}"] for row in rows], "--", color=colour, alpha=0.6)
        axis.plot(epochs, [row[f"cv_{quantity}"] for row in rows], "-", color=colour, label=label)
