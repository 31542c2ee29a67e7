"""What a run's tables say: the best configuration, and comparisons in the form of the paper's Table 1."""
