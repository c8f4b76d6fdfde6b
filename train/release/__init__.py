"""Models in the formats of other programs: what leaves a run, and what becomes one."""
