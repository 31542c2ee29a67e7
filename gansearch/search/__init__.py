"""Search: spaces, strategies, and sweeps on Ray Tune. Nothing outside this package imports Ray."""
