"""Experiments as data. Configs import neither jax nor other packages of Varietas, so they load quickly on a login node."""
