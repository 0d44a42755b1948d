"""Bring your own mechanism: adapters around functions, scikit-learn estimators, and what a service answers."""
