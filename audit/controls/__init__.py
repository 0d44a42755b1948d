"""What an audit checks about itself: worlds that it knows, and whether the trials are random."""
