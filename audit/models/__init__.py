"""Models that exist already: many records audited from the outputs of the same few models."""
