"""Noise on a minimised objective or on its minimiser: output perturbation, and removal by a Newton step."""
