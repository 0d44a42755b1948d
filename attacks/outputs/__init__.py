"""What a release shows of the deleted records through the model's outputs."""
