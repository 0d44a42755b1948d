"""Attacks for what no mean and no covariance shows."""
