"""What commands say, and the places that they write to."""
