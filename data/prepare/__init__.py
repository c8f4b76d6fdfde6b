"""Prepares one corpus from many raw files, on one machine or on many."""
