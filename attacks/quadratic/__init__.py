"""Scores that are quadratic in the release: they see a changed covariance too."""
