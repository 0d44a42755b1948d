"""Words for one thing in one place: verdicts, records, bounds, remarks, failures and rounded numbers."""
