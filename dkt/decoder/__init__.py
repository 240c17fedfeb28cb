"""Graphs, alignment and decoding."""
