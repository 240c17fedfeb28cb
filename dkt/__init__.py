"""dkt: dark knowledge transfer for acoustic models, inside Kaldi pipelines or stand-alone."""

__version__ = "0.1.0"
