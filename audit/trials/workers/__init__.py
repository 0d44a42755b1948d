"""Worker processes: how they are started, handed calls, watched, and replaced when they end."""
