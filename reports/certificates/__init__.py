"""Pages of certificates: what each record's deletion is worth."""
