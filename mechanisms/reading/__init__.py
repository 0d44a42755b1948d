"""What comes in from outside: arrays, cells of text tables, and what is said of data when they are read."""
