"""Requests that ridge regression serves one after the other: their laws, exact certificates and calibration."""
