"""The table of published mechanisms, for a terminal, as HTML and as Markdown."""
