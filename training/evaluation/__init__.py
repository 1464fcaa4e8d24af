"""Everything that measures a model."""
