"""Scores that are linear in the release: known directions and learned ones."""
