"""One audit from its plan to its result."""
