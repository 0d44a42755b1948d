"""Scores that somebody else's attack gave already."""
