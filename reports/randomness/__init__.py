"""What running both worlds from the same random streams showed."""
