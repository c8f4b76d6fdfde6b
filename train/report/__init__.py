"""The report of a run: one HTML page from the files in its folder."""
