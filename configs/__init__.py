"""Experiments as data. Imports neither jax nor anything else of ours: it runs on a login node."""
