"""Conversations: their text by a chat template, their tokens, and which of these are learned."""
