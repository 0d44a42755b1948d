"""Audit models while they are still being made: of one deletion, or with a claim a record."""
