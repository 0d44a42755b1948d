"""The page of what was measured where nothing is claimed."""
