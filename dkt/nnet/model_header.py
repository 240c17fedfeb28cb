"""What a model file or a checkpoint says of itself, read without PyTorch, which takes seconds to start.

A file of PyTorch's is a zip archive, whose ``data.pkl`` is a pickle of everything but the numbers. It is read
with stand-ins for all classes that it names, so that nothing of it is ever called.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dkt.base.errors import DamagedError, DktError
from dkt.base.files import is_there, read_file
from dkt.base.sealed import check_zip

#: What a model file says that it is.
MODEL_FORMAT = "dkt-model"
# Of a number, at least: half precision.
_LEAST_BYTES = 2
# What a network keeps beside what it learns.
_BUFFERS = ("shift", "scale", "running_mean", "running_var", "num_batches_tracked")
_WHOLE = ("feature_dim", "num_pdfs", "left_context", "right_context")


@dataclass(frozen=True)
class ModelHeader:
    """A network without its weights.

    Attributes:
        info: the fields of ``dkt.nnet.model_file.ModelInfo``, perhaps by earlier names of theirs; empty for a
            checkpoint.
        shapes: of the weights, by their names.
    """

    info: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]

    @property
    def num_params(self) -> int:
        """The number of parameters, buffers such as the normalisation of the input not counted."""
        return sum(
            math.prod(shape) for name, shape in self.shapes.items() if name.rpartition(".")[2] not in _BUFFERS
        )


def read_model_header(path: str | Path) -> ModelHeader:
    """The description in a model file, ``final.pt``.

    Raises:
        DamagedError: the file is not as it was written.
        DktError: it cannot be read, or is something else.
    """
    content = _read_content(Path(path))
    info = content.get("info")
    if content.get("format") != MODEL_FORMAT or not isinstance(info, dict):
        raise DktError("is not a model file of dkt", path=path)
    whole = all(isinstance(info.get(name), int) for name in _WHOLE)
    if not whole or not isinstance(info.get("kind"), str) or not isinstance(info.get("network"), dict):
        raise DktError("is not a model of this dkt (its description is not whole)", path=path)
    return ModelHeader(info, _shapes(content.get("state"), Path(path)))


def read_checkpoint_header(path: str | Path) -> ModelHeader:
    """The shapes of the network in a checkpoint of a training.

    Raises:
        DamagedError, DktError: as of ``read_model_header``.
    """
    content = _read_content(Path(path))
    if "newbob" not in content:
        raise DktError("is not a checkpoint of dkt", path=path)
    return ModelHeader({}, _shapes(content.get("network"), Path(path)))


def _shapes(state: Any, path: Path) -> dict[str, tuple[int, ...]]:
    tensors = state if isinstance(state, dict) else {}
    shapes = {name: value.shape for name, value in tensors.items() if isinstance(value, _Tensor)}
    if not shapes or len(shapes) < len(tensors):
        raise DktError("is not a model of this dkt (its weights are missing)", path=path)
    if _LEAST_BYTES * sum(map(math.prod, shapes.values())) > path.stat().st_size:
        raise DktError("claims more weights than its bytes can hold", path=path)
    return shapes


def _read_content(path: Path) -> dict[Any, Any]:
    if not is_there(path):
        raise DktError("does not exist", path=path)
    data = read_file(path)
    check_zip(data, path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            content = _Unpickler(io.BytesIO(archive.read(name))).load()
    except Exception:
        # A damaged pickle raises anything at all.
        raise DamagedError("is damaged (its description cannot be read)", path=path) from None
    if not isinstance(content, dict):
        raise DktError("is not a file of dkt", path=path)
    return content


class _Inert:
    """Stands for whatever a pickle names and is of no interest here."""

    def __init__(self, *arguments: object) -> None:
        pass


class _Dict(dict[Any, Any]):
    """A dict that, as that of PyTorch's weights, has attributes."""


@dataclass(frozen=True)
class _Tensor:
    shape: tuple[int, ...]


def _tensor(storage: object, offset: object, shape: tuple[int, ...], *others: object) -> _Tensor:
    if not all(type(size) is int and size >= 0 for size in shape):
        raise pickle.UnpicklingError("a tensor of impossible shape")
    return _Tensor(tuple(shape))


# Not that of C, which takes memory on the word of a damaged pickle.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What stands for a class or function: nothing is imported."""
        if name == "OrderedDict":
            return _Dict
        return _tensor if name.startswith("_rebuild_tensor") else _Inert

    def persistent_load(self, pid: object) -> _Inert:
        """The numbers of a tensor: left where they are."""
        return _Inert()
