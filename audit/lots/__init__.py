"""Audits in which secret coins draw what is deleted: one model can refute, and none is retrained."""
