"""What the command line and the demonstration do. Edges: modules of audit that render, and that run a user's code."""
