"""What pictures are drawn from: histograms of scores, and what was seen look by look."""
