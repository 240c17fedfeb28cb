"""Soft targets: in memory, on disk, of Kaldi, of a teacher that runs."""
