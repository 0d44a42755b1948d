"""How surely guesses of coins could be chance: tails, one run, releases one after the other."""
