"""Commands that audit what this package brings along: services with seeded faults, and published mechanisms."""
