"""Files of tensors and plain values, as PyTorch writes them, with a checksum of the whole inside.

PyTorch looks at no checksum, neither at this one nor at those that a zip archive has by itself.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from dkt.base.errors import DamagedError, DktError
from dkt.base.files import is_there, read_file, replace_file
from dkt.base.sealed import check_zip, seal_zip

# More than any model has; a pickle of a few bytes can hold lists of lists of the same lists.
_MOST_VALUES = 1 << 20
_DEEPEST = 50


def save_torch(path: Path, content: dict[str, Any]) -> None:
    """Save tensors and plain values, whole or not at all.

    Raises:
        DktError: the file cannot be written.
    """
    # Written to a file it would bear the file's name inside: the same content shall be the same bytes.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    replace_file(path, seal_zip(buffer.getvalue()))


def load_torch(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Load what ``save_torch`` wrote; a file can never execute code, nor claim more than its size.

    Raises:
        DamagedError: the bytes are not those that were written.
        DktError: the file is missing, cannot be read, or holds more than tensors and plain values.
    """
    if not is_there(path):
        raise DktError("does not exist", path=path)
    data = read_file(path)
    check_zip(data, path)
    try:
        content = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    except pickle.UnpicklingError:
        raise DktError("holds more than tensors and plain values: it is not loaded", path=path) from None
    except Exception:
        # The unpickler can raise anything at all, in PyTorch's words, which tell a user nothing.
        raise DamagedError("is damaged (PyTorch cannot read it)", path=path) from None
    _check_claims(content, len(data), path)
    if not isinstance(content, dict):
        raise DktError("is not a file of dkt", path=path)
    return content


def _check_claims(content: Any, size: int, path: Path) -> None:
    """Raise DktError if tensors claim more bytes than the file has, or values are nested without end."""
    bytes_claimed = counted = 0
    level = [content]
    for _ in range(_DEEPEST):
        tensors = [value for value in level if isinstance(value, torch.Tensor)]
        bytes_claimed += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        # What is in one container counts each time that it is there.
        containers = [value for value in level if isinstance(value, (dict, list, tuple, set))]
        counted += sum(map(len, containers))
        if bytes_claimed > size or counted > _MOST_VALUES:
            raise DktError(f"claims more than its {size} bytes can hold: it is not loaded", path=path)
        if not containers:
            return
        level = [value for container in containers for value in _members(container)]
    raise DktError("is nested too deeply for a file of dkt", path=path)


def _members(container: Any) -> list[Any]:
    return [*container, *container.values()] if isinstance(container, dict) else list(container)
