"""Trials: drawn in chunks, on any engine, each chunk with a random stream of its own."""
