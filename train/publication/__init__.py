"""A release that is truly open: what a folder holds beside the weights, and what is missing in it."""
