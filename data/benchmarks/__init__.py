"""Benchmarks: items made from text of any language, and published ones from local files, as tasks for lm_eval."""
