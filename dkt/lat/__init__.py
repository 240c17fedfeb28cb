"""Lattices: files, determinisation, paths, oracle; nothing of decoding."""
