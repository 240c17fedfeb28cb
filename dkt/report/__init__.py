"""Experiments compared: their figures read, tested, drawn and put on a page."""
