"""Computes any row of the training data from a corpus: the mixture, packing and the loader."""
