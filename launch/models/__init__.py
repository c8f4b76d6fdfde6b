"""Models that come from elsewhere: other runs, and releases in the layout of transformers."""
