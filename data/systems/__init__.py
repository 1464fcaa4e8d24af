"""Systems that train while they search: populations, architectures, update rules."""
