"""Audits of scores or releases that were made elsewhere."""
