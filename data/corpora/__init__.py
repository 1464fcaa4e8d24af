"""What the model learns from: synthetic, emulated, generated and recorded studies."""
