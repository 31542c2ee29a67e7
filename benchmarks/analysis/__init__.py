"""How fast the analysis is, and how true."""
