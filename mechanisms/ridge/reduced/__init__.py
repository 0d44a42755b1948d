"""A deletion compressed to its Krylov space, with every error charged."""
