"""A training run: its state, step, loop, checkpoints and metrics, its evaluation and generation, and its report."""
