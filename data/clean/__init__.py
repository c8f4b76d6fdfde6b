"""Decides which documents are kept, and says why the others are not."""
