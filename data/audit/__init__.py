"""Answers to who asks what a run has read, from its ledger and its corpus. None of it needs the model."""
