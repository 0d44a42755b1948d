"""What is audited: claims, data sets, and reference mechanisms that learn and unlearn."""
