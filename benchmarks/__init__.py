"""Measurements that say what a design choice is worth; not part of the distribution."""
