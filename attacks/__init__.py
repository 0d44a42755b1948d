"""How a release is attacked: scores that are higher in the unlearned world."""
