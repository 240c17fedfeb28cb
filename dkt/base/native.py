"""Kernels in C++, compiled when they are first asked for and kept; without a compiler there are none.

A kernel is a source file, with headers beside it, of plain functions on pointers, called through ``ctypes``:
nothing of NumPy or PyTorch is compiled against, so a new version of them needs no new build.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dkt.base.errors import DktError
from dkt.base.files import partial_directory, replace_file
from dkt.base.sealed import is_sealed, seal
from dkt.base.threads import check_abandoned

logger = logging.getLogger(__name__)

#: ``torch`` in this environment variable leaves the kernels out, as if there were no compiler.
KERNELS_VARIABLE = "DKT_KERNELS"
_FLAGS = ("-std=c++17", "-fPIC", "-shared")
# What a function that works in pieces returns while there is more to do.
_MORE = 1
# Compilers of some processors know one of these, others the other.
_NATIVE = (("-march=native",), ("-mcpu=native",), ())
_COMPILERS = ("c++", "g++", "clang++")
_SECONDS = 120
# Of what is kept in the cache.
_FORMAT = b"sealed"
_loading = threading.Lock()


@dataclass(frozen=True)
class Kernel:
    """What there is to compile.

    Attributes:
        source: the file; headers (``*.h``) beside it may be included.
        instead: what happens without it, for the log: "lattices are made by NumPy, which is slower".
        flags: of the compiler, besides those of all kernels.
        returns: functions that return no ``int``, and what: set once, before threads call them.
    """

    source: Path
    instead: str
    flags: tuple[str, ...] = ("-O3",)
    returns: tuple[tuple[str, Any], ...] = ()


def load_kernel(kernel: Kernel) -> ctypes.CDLL | None:
    """The compiled kernel; None where there is no compiler, or it fails (which the log tells)."""
    # Threads that compute different utterances shall not each compile it.
    with _loading:
        return _loaded(kernel)


@functools.cache
def _loaded(kernel: Kernel) -> ctypes.CDLL | None:
    if os.environ.get(KERNELS_VARIABLE) == "torch":
        return None
    compiler = _find_compiler()
    if compiler is None:
        logger.info("no C++ compiler (set CXX): %s", kernel.instead)
        return None
    try:
        library = ctypes.CDLL(str(_built(kernel, compiler)))
    except (OSError, subprocess.SubprocessError, DktError) as error:
        said = getattr(error, "stderr", None) or str(error)
        logger.warning(
            "%s: %s cannot compile its kernel: %s", kernel.instead, " ".join(compiler), said.strip()[-500:]
        )
        return None
    for name, kind in kernel.returns:
        getattr(library, name).restype = kind
    return library


@contextlib.contextmanager
def owned(made: int | None, free: Callable[[ctypes.c_void_p], object]) -> Iterator[ctypes.c_void_p]:
    """A context in which there is what a kernel has made.

    Args:
        made: where it is; nothing if there was no memory for it.
        free: the function of the kernel that gives it back.

    Raises:
        MemoryError: nothing was made.
    """
    if not made:
        raise MemoryError
    handle = ctypes.c_void_p(made)
    try:
        yield handle
    finally:
        free(handle)


def run_in_pieces(advance: Callable[[], int]) -> int:
    """Let a kernel work to its end, and give its status; signals are heard between the pieces.

    Args:
        advance: does the next piece.

    Raises:
        AbandonedError: nobody waits for this thread's result any more.
    """
    while True:
        check_abandoned()
        status = advance()
        if status != _MORE:
            return status


def _find_compiler() -> list[str] | None:
    given = os.environ.get("CXX")
    candidates = [shlex.split(given)] if given else [[name] for name in _COMPILERS]
    return next((words for words in candidates if words and shutil.which(words[0])), None)


def _built(kernel: Kernel, compiler: list[str]) -> Path:
    """The library, from the cache or new."""
    name = f"{kernel.source.stem}-{_key(kernel, compiler)}.so"
    folder = _cache()
    if folder is not None:
        library = folder / name
        if _is_whole(library):
            return library
        try:
            _compile(kernel, compiler, library)
            return library
        except (OSError, subprocess.SubprocessError, DktError) as error:
            logger.info("the kernel is not kept for the next time: %s", error)
    # Where others may write nothing is believed: a folder of this process alone.
    folder = Path(tempfile.mkdtemp(prefix="dkt-kernels-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _compile(kernel, compiler, folder / name)
    return folder / name


def _is_whole(library: Path) -> bool:
    """Whether the library is as it was compiled: loading one that is cut short can end the process."""
    try:
        data = library.read_bytes()
    except FileNotFoundError:
        return False
    except OSError as error:
        logger.warning("%s cannot be read (%s): compiling it again", library, error.strerror)
        return False
    with contextlib.suppress(ValueError):
        if is_sealed(data):
            return True
    logger.warning("%s is damaged: compiling it again", library)
    return False


def _cache() -> Path | None:
    try:
        # Without a home there is none.
        base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        folder = Path(base) / "dkt" / "kernels"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except (OSError, RuntimeError):
        return None
    private = status.st_uid == os.getuid() and not status.st_mode & 0o022
    return folder if private and os.access(folder, os.W_OK) else None


def _key(kernel: Kernel, compiler: list[str]) -> str:
    """What the library depends on: homes are shared by machines of different processors."""
    version = subprocess.run(
        [*compiler, "--version"], capture_output=True, timeout=_SECONDS, check=True
    ).stdout
    words = (*compiler, *_FLAGS, *kernel.flags)
    files = [kernel.source, *sorted(kernel.source.parent.glob("*.h"))]
    sources = b"\0".join(path.read_bytes() for path in files)
    parts = (_FORMAT, sources, " ".join(words).encode(), version, _processor().encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    names = ("vendor_id", "model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(names)}))


def _compile(kernel: Kernel, compiler: list[str], library: Path) -> None:
    with partial_directory(library) as folder:
        made = folder / library.name
        for number, native in enumerate(_NATIVE):
            command = [*compiler, *_FLAGS, *kernel.flags, *native, "-o", str(made), str(kernel.source)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
            if done.returncode == 0:
                break
            if number == len(_NATIVE) - 1:
                done.check_returncode()
        data = made.read_bytes()
    replace_file(library, seal(data))
    logger.info("compiled %s, once", library)
