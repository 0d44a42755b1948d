"""Who audits the auditor? Services with seeded faults, audited against what is true of them. An edge."""
