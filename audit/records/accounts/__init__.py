"""What is said of a result: cards for people at a prompt, remarks beside verdicts, and what an exception says."""
