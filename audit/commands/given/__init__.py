"""Commands about models that exist already: scores, tables of outputs, measures, deletions drawn by lot."""
