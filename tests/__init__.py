"""Tests of dkt."""
