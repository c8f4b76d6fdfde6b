"""A server of a trained model: requests as OpenAI's clients send them, continuous batching, a paged key-value cache."""
