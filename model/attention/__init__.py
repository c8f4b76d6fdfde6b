"""Attention, a part of a layer."""
