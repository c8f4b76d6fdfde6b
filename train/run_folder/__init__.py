"""What a run keeps in its folder: its config, checkpoints, metrics and evaluations, and where its data came from."""
