"""The drawings of a page of audits, and the data of every drawing as CSV."""
