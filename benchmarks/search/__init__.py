"""Which search strategy is worth it: a table of real training curves, and strategies replayed on it."""
