"""Options that commands share: of runs, of claims, of audits by lot."""
