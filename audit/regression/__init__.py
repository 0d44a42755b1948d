"""Is a candidate worse than a baseline? Comparisons of certificates, results and rates."""
