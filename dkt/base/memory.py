"""Running out of memory, told in one line that says what it was for and what to lower."""

from __future__ import annotations

import contextlib
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

from dkt.base.errors import DktError

# What PyTorch says: of the CPU's allocator, of a size beyond all addresses, of CUDA and its libraries.
_SIGNS = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "storage size calculation overflowed",
    "numel: integer multiplication overflow",
    "alloc_failed",
)
_SIZE = re.compile(r"allocate (?:more than )?([0-9.]+ ?(?:[KMGTPE]i?)?B(?:ytes)?)\b", re.IGNORECASE)
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of Python, NumPy or PyTorch tells that memory was asked for and not given."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)


def out_of_memory(error: BaseException, what: str, hint: str) -> DktError:
    """The error to raise for one of which ``is_out_of_memory`` is true.

    Args:
        error: what was raised.
        what: what the memory was for.
        hint: what to lower.
    """
    found = _SIZE.search(str(error))
    asked = f", of which {found[1]} were asked for at once" if found else ""
    return DktError(f"out of memory: there is not enough for {what}{asked}", hint=hint)


@contextlib.contextmanager
def memory_for(what: str, hint: str) -> Iterator[None]:
    """Tell what memory was for, and what to lower, where it runs out; a context or a decorator.

    Raises:
        DktError: in place of what Python, NumPy or PyTorch raised.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(error, what, hint) from None


def available_memory() -> int:
    """Bytes that this process may have at most: of the machine, its container and ``ulimit -v``."""
    bounds = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            bounds.append(int(Path(path).read_text(encoding="ascii")))
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        bounds.append(limit)
    return min(bounds)


def require_memory(size: float, what: str, hint: str) -> None:
    """Refuse what cannot fit before it is begun: a system that promises more than it has kills instead.

    Args:
        size: in bytes.
        what: what it is for.
        hint: what to lower.

    Raises:
        DktError: it is more than this process may have at most.
    """
    most = available_memory()
    if size > most:
        raise DktError(
            f"out of memory: {what} takes {size / 1e9:.1f} GB, and there are {most / 1e9:.1f} GB", hint=hint
        )
