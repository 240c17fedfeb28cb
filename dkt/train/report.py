"""The result of a recipe: a table, ``results.csv`` and means over seeds."""

from __future__ import annotations

import csv
import io
import re
import statistics
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from dkt.base.config import read_yaml
from dkt.base.errors import DktError
from dkt.base.files import replace_file
from dkt.train.history import load_history

_WER = re.compile(r"%WER ([0-9.]+|nan|inf) \[ \d+ / \d+,", re.ASCII)


@dataclass
class Row:
    """One line of the table; accuracies and error rates in percent, None where there is none."""

    system: str
    seed: int
    train_frame_acc: float | None
    cv_frame_acc: float | None
    dev_wer: float | None
    test_wer: float | None


def best_wer(directory: Path) -> float | None:
    """The best word error rate that the scoring of a decode directory found, in percent; None without one.

    Raises:
        DktError: the file of it is damaged.
    """
    path = directory / "scoring_kaldi" / "best_wer"
    if not path.exists():
        return None
    found = _WER.search(path.read_text(encoding="utf-8", errors="replace"))
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
    seed = section.get("seed", 0) if isinstance(section, dict) else 0
    return seed if isinstance(seed, int) else 0


def collect_rows(system: str, directory: Path) -> Row:
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
    dev, test = (best_wer(directory / f"decode_{name}") for name in ("dev", "test"))
    return Row(system, _seed(directory), train, cv, dev, test)


def save_results(path: Path, results: list[Row]) -> None:
    """Write the table as comma-separated values, empty where there is no figure."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([f.name for f in fields(Row)])
    for result in results:
        writer.writerow([_text(value, "") for value in asdict(result).values()])
    replace_file(path, stream.getvalue().encode())


def _text(value: object, missing: str) -> str:
    if value is None:
        return missing
    return f"{value:.2f}" if isinstance(value, float) else str(value)


_HEAD = ["system", "seed", "train frame acc", "cv frame acc", "dev WER", "test WER"]


def table(results: list[Row]) -> str:
    """The table as text, Markdown that reads well on a terminal."""
    return _aligned([_HEAD, *([_text(v, "-") for v in asdict(r).values()] for r in results)])


def table_of_means(results: list[Row]) -> str:
    """Mean and standard deviation over seeds of each system; empty if no system has several."""
    systems: dict[str, list[Row]] = {}
    for result in results:
        systems.setdefault(result.system, []).append(result)
    if max(map(len, systems.values()), default=0) < 2:
        return ""
    columns = [f.name for f in fields(Row)][2:]
    rows = [
        [system, str(len(of_seeds)), *(_mean_text([getattr(r, name) for r in of_seeds]) for name in columns)]
        for system, of_seeds in systems.items()
    ]
    return _aligned([["system", "seeds", *_HEAD[2:]], *rows])


def _mean_text(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    spread = f" ±{statistics.stdev(known):.2f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.2f}{spread}"


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return "\n".join(
        "| "
        + " | ".join(
            c.ljust(w) if not i else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))
        )
        + " |"
        for r in rows
    )
