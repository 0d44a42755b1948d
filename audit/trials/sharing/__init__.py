"""Learned models that serve several forget sets: drawn once, unlearned for each."""
