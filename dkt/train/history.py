"""The learning curve of a training: a table in a file, optionally also for TensorBoard."""

from __future__ import annotations

import csv
import importlib.util
import io
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.files import replace_file


@dataclass
class EpochRecord:
    """One line of the learning curve; losses in nats per frame, accuracies in percent, time in seconds.

    Epoch 0 is that of weights which another training has made; fresh ones have none.
    ``train_*`` are measured in evaluation mode on a fixed tenth of the training utterances, ``running_loss``
    on all frames while the weights move; ``clipped`` is the percentage of updates whose gradient was scaled
    down, ``waiting`` that of the time in which batches were waited for.
    """

    epoch: int
    learn_rate: float
    running_loss: float
    train_loss: float
    train_frame_acc: float
    cv_loss: float
    cv_frame_acc: float
    clipped: float
    accepted: bool
    seconds: float
    waiting: float = 0.0


def save_history(path: Path, records: list[EpochRecord]) -> None:
    """Write the learning curve as a table of comma-separated values."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [f.name for f in fields(EpochRecord)], lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in asdict(record).items()})
    replace_file(path, stream.getvalue().encode())


def load_history(path: Path) -> list[dict[str, float]]:
    """Read a learning curve: one dict of numbers per line, ``accepted`` as 0 or 1.

    Raises:
        DktError: the file is missing or no such table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
        if reader.fieldnames and not {"epoch", "accepted"}.issubset(reader.fieldnames):
            raise ValueError
        return [
            {k: float(v) if k != "accepted" else float(v == "True") for k, v in row.items()} for row in rows
        ]
    except OSError as error:
        raise DktError(f"cannot be read: {error.strerror}", path=path) from None
    except (ValueError, TypeError, csv.Error):
        raise DktError("is not a learning curve of dkt", path=path) from None


def require_tensorboard() -> None:
    """Raise DktError now rather than after the first epoch if TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise DktError("TensorBoard is not installed", hint="pip install 'dkt[tensorboard]'")


def write_tensorboard(directory: Path, record: EpochRecord) -> None:
    """Append one epoch to the TensorBoard events in ``directory``."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(directory))
    for name, value in asdict(record).items():
        if name != "epoch":
            writer.add_scalar(name, float(value), record.epoch)
    writer.close()
