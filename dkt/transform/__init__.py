"""Transforms of features that are estimated: LDA, fMLLR."""
