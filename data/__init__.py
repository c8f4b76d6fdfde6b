"""Text to token rows, and the record of what was read. NumPy only: worker processes start fast and stay small."""
