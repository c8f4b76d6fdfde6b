"""Trains, compares and applies SentencePiece tokenizers that treat languages fairly."""
