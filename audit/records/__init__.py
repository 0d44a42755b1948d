"""What is written down, frozen: counts, evidence, verdicts, results, and how they say themselves."""
