"""What comes in from outside: arrays, cells of text tables, records of any kind, and what is said of data."""
