"""Linear layers: products of activations and weights, adapters, weights of few bits."""
