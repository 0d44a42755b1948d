"""Comparisons of a candidate with a baseline, for terminals and pull requests."""
