"""The run: state, step, loop, checkpoints, metrics, evaluation, generation, report."""
