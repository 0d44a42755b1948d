"""Noisy fine-tuning on retained records (arXiv:2506.06985): gradients clipped, models clipped, groups of records."""
