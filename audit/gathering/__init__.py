"""Draw, fit, choose, draw again, score: how trials become evidence."""
