"""Uses of a trained model: evaluation and generation."""
