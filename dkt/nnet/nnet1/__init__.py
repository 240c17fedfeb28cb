"""Kaldi's own forms of networks."""
