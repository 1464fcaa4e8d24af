"""Synthetic priors: spaces, functions and histories drawn without end, vectorised in torch."""
