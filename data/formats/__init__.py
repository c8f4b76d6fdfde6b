"""Reads files of every supported format as documents, whether they are compressed or not, whole or damaged."""
