"""Audits in the wild: published mechanisms beside their corrected twins, at the level of a printed statement."""
