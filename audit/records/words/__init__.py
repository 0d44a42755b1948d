"""Words for one thing in one place: verdicts, records, claims and bounds, and numbers rounded to their safe side."""
