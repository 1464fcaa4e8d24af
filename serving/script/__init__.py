"""Tuning any script from a shell."""
