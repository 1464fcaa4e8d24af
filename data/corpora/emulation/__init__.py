"""Tables of real evaluations as functions that can be evaluated anywhere."""
