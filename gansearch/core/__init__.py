"""Data sets, networks, Algorithm 1 and the Parzen estimate, on PyTorch and NumPy alone."""
