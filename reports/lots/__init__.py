"""What audits of deletions drawn by lot found: one page, a text for a terminal, JUnit XML."""
