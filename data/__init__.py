"""From text to rows of tokens, and the record of what was read.

The code needs NumPy but not JAX, so worker processes start fast and stay small.
"""
