"""The exact test of a point claim: its score, its rejection regions and its critical counts."""
