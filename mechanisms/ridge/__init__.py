"""Per-instance certified unlearning of ridge regression trained by Langevin dynamics."""
