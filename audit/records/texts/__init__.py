"""Numbers and failures in words, below everything that is stored."""
