"""dkt: dark knowledge transfer for acoustic models, inside Kaldi pipelines or stand-alone.

What Python programs use of it is here, and on the page ``docs/python.md``. Nothing is imported before it is
asked for.
"""

import sys
from typing import TYPE_CHECKING, Any

from dkt.base.version import __version__ as __version__

# The steps call programs of the checkout by the python3 that there is.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "dkt: error: dkt needs Python 3.11 or newer, and this is Python "
        f"{sys.version.split()[0]}: enter the environment that dkt is installed in"
    )

if TYPE_CHECKING:
    from dkt.api.model import Model
    from dkt.api.soft_targets import make_soft_targets, write_soft_targets
    from dkt.api.training import train_nnet
    from dkt.base.errors import DktError
    from dkt.hmm.alignments import AlignmentDir
    from dkt.nnet.networks import NETWORKS
    from dkt.targets.store import TargetDir
    from dkt.train import objectives
    from dkt.train.modes import OBJECTIVES
    from dkt.util.data_dir import DataDir
    from dkt.util.table import (
        IntVectorWriter,
        MatrixWriter,
        VectorWriter,
        read_int_vectors,
        read_matrices,
        read_vectors,
    )

    load_model = Model.load

__all__ = [
    "NETWORKS",
    "OBJECTIVES",
    "AlignmentDir",
    "DataDir",
    "DktError",
    "IntVectorWriter",
    "MatrixWriter",
    "Model",
    "TargetDir",
    "VectorWriter",
    "load_model",
    "make_soft_targets",
    "objectives",
    "read_int_vectors",
    "read_matrices",
    "read_vectors",
    "train_nnet",
    "write_soft_targets",
]

_PLACES = {
    "NETWORKS": "dkt.nnet.networks:NETWORKS",
    "OBJECTIVES": "dkt.train.modes:OBJECTIVES",
    "AlignmentDir": "dkt.hmm.alignments:AlignmentDir",
    "DataDir": "dkt.util.data_dir:DataDir",
    "DktError": "dkt.base.errors:DktError",
    "IntVectorWriter": "dkt.util.table:IntVectorWriter",
    "MatrixWriter": "dkt.util.table:MatrixWriter",
    "Model": "dkt.api.model:Model",
    "TargetDir": "dkt.targets.store:TargetDir",
    "VectorWriter": "dkt.util.table:VectorWriter",
    "load_model": "dkt.api.model:Model.load",
    "make_soft_targets": "dkt.api.soft_targets:make_soft_targets",
    "objectives": "dkt.train.objectives:",
    "read_int_vectors": "dkt.util.table:read_int_vectors",
    "read_matrices": "dkt.util.table:read_matrices",
    "read_vectors": "dkt.util.table:read_vectors",
    "train_nnet": "dkt.api.training:train_nnet",
    "write_soft_targets": "dkt.api.soft_targets:write_soft_targets",
}


if not TYPE_CHECKING:  # which would take any name for one that is there

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            message = f"module 'dkt' has no attribute '{name}'"
            raise AttributeError(message, name=name, obj=sys.modules[__name__])
        from pkgutil import resolve_name

        value = globals()[name] = resolve_name(_PLACES[name])
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
