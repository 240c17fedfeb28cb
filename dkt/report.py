"""The result of a recipe: a table, ``results.csv`` and the learning curves."""

from __future__ import annotations

import csv
import logging
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from dkt.config import read_yaml
from dkt.errors import DktError
from dkt.train.history import load_history

logger = logging.getLogger(__name__)

_WER = re.compile(r"%WER (\S+) \[ \d+ / \d+,")


@dataclass
class Result:
    """One line of the table; accuracies and error rates in percent, None where there is none."""

    system: str
    seed: int
    train_frame_acc: float | None
    cv_frame_acc: float | None
    dev_wer: float | None
    test_wer: float | None


def _best_wer(directory: Path) -> float | None:
    path = directory / "scoring_kaldi" / "best_wer"
    if not path.exists():
        return None
    found = _WER.search(path.read_text(encoding="utf-8"))
    if not found:
        raise DktError("holds no %WER line", path=path, hint="score the directory again")
    return float(found[1])


def _accuracies(directory: Path) -> tuple[float | None, float | None]:
    path = directory / "history.csv"
    if not path.exists():
        return None, None
    kept = [row for row in load_history(path) if row["accepted"]]
    return (kept[-1]["train_frame_acc"], kept[-1]["cv_frame_acc"]) if kept else (None, None)


def _seed(directory: Path) -> int:
    path = directory / "config.yaml"
    if not path.exists():
        return 0
    content = read_yaml(path)
    section = content.get("training", content)
    return int(section.get("seed", 0)) if isinstance(section, dict) else 0


def collect(system: str, directory: Path) -> Result:
    """The figures of one experiment directory.

    Args:
        system: its name in the table.
        directory: of a GMM or a network, with ``decode_dev`` and ``decode_test``.

    Raises:
        DktError: the directory does not exist, or a file in it is damaged.
    """
    if not directory.is_dir():
        raise DktError("does not exist", path=directory, hint="run the stage that makes it")
    train, cv = _accuracies(directory)
    dev, test = (_best_wer(directory / f"decode_{name}") for name in ("dev", "test"))
    return Result(system, _seed(directory), train, cv, dev, test)


def save_results(path: Path, results: list[Result]) -> None:
    """Write the table as comma-separated values, empty where there is no figure."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([f.name for f in fields(Result)])
        for result in results:
            writer.writerow([_text(value, "") for value in asdict(result).values()])


def _text(value: object, missing: str) -> str:
    if value is None:
        return missing
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def table(results: list[Result]) -> str:
    """The table as text, Markdown that reads well on a terminal."""
    head = ["system", "seed", "train frame acc", "cv frame acc", "dev WER", "test WER"]
    rows = [head, *([_text(v, "-") for v in asdict(r).values()] for r in results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| "
        + " | ".join(
            c.ljust(w) if not i else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))
        )
        + " |"
        for r in rows
    )


def plot_learning_curves(path: Path, systems: list[tuple[str, Path]]) -> bool:
    """Draw loss and frame accuracy by epoch of every network, training dashed and cross-validation solid.

    Args:
        path: the picture to write, PNG or PDF.
        systems: names and experiment directories; those without a learning curve are left out.

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

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for number, (name, rows) in enumerate(curves):
        epochs = [row["epoch"] for row in rows]
        for axis, quantity in zip(axes, ("loss", "frame_acc"), strict=True):
            axis.plot(
                epochs,
                [r[f"train_{quantity}"] for r in rows],
                "--",
                color=f"C{number}",
                label=f"{name} train",
            )
            axis.plot(
                epochs, [r[f"cv_{quantity}"] for r in rows], "-", color=f"C{number}", label=f"{name} cv"
            )
    for axis, title in zip(axes, ("loss (nats a frame)", "frame accuracy (%)"), strict=True):
        axis.set_xlabel("epoch")
        axis.set_title(title)
        axis.grid(alpha=0.3)
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[1].legend(fontsize=8)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return True
