"""The table of the auditor's self-test."""
