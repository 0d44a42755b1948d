"""Pages of audits: what was claimed, what was found, and what it rests on."""
