"""Studies with storage: suggest, observe, predict, plot."""
