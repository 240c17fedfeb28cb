"""dkt: dark knowledge transfer for acoustic models, inside Kaldi pipelines or stand-alone."""

import sys

__version__ = "0.1.0"

# The steps call programs of the checkout by the python3 that there is.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "dkt: error: dkt needs Python 3.11 or newer, and this is Python "
        f"{sys.version.split()[0]}: enter the environment that dkt is installed in"
    )
