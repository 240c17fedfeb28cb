"""Finite-state transducers, and OpenFst's files."""
