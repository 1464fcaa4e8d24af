"""What a training batch is made of."""
