"""What a folder of results is filed with: the case, the manifest of its files, and the command that compares them."""
