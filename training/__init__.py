"""Training: batches of the synthetic prior, losses, the loop, evaluation of predictions."""
