"""OptFormer."""
