"""The network, the Gaussian-process mixture it consults, and its checkpoints."""
