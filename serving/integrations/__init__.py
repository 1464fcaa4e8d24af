"""OptFormer inside other tools."""
