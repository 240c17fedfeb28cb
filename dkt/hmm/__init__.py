"""Topologies, transition models, trees, alignments, posteriors and counts (Kaldi's ``hmm/``, ``tree/``)."""
