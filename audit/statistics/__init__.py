"""Counts and scores in, numbers out: bounds, tests, levels. Nothing here knows where a trial came from."""
