"""Audits that stop when they are decided: bets, what they follow, and how their evidence grew."""
