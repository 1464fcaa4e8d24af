"""The language of studies: metadata and trials as one sequence of tokens, and back."""
