"""From a history to the next trials: candidates, predictions, acquisition."""
