"""What outlives a run: who writes to a store, how it is opened and looked into, and how a run goes on from it."""
