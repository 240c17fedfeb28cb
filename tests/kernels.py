"""The two ways of what compiled kernels compute: by them, and without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dkt.base import native
from dkt.lat.native_determinize import _KERNEL

#: Parameters of a fixture that tests both.
WAYS = ("kernel", "numpy")


@contextmanager
def computed_by(way: str) -> Iterator[None]:
    """Within it kernels are used, or not; skips the test where there is no compiler to make them."""
    with pytest.MonkeyPatch.context() as patch:
        native._loaded.cache_clear()
        if way == "kernel":
            patch.delenv(native.KERNELS_VARIABLE, raising=False)
            if native.load_kernel(_KERNEL) is None:
                pytest.skip("no C++ compiler: the kernel cannot be tested")
        else:
            patch.setenv(native.KERNELS_VARIABLE, "torch")
        try:
            yield
        finally:
            native._loaded.cache_clear()
