"""One audit on many machines that know nothing of each other: chunks are dealt out, drawn apart, and collected."""
