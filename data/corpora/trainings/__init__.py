"""Tables of real trainings: small models on generated data, many configurations at a time."""
