"""Kaldi's tables, scripts and streams, texts, symbols, data directories."""
