"""Published mechanisms of certified unlearning, written anew from their equations, one module each.

They only sample and state: what is claimed, of which reference world, on which canary, and the exact epsilon where the
law is known. :mod:`mechanisms.published.catalogue` lists them; ``unlearn-audit wild`` audits them.
"""
