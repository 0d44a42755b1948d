"""The page of an audit of models that exist already: records by rank, and the few with the most evidence in detail."""
