"""Benchmarks: a model as EleutherAI's lm-evaluation-harness asks it, and what its tasks find."""
