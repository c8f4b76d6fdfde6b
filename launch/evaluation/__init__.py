"""`varietas evaluate`: bits per byte of texts, and benchmarks."""
