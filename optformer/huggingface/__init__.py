"""The model as a transformers model."""
