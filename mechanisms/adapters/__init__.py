"""Bring your own mechanism: adapters around functions (and, later, estimators and modules)."""
