"""Matrices and vectors as Kaldi stores them."""
