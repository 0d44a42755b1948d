"""Forecasts: what an audit will be able to see."""
