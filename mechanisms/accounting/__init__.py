"""How a certificate is derived: exact Gaussian pairs, Gaussian DP, shifted interpolation, and calibration."""
