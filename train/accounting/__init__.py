"""Where the time and the energy of a run went, over all its starts."""
