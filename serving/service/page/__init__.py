"""The page for people: what the service's studies have found and what the model believes."""
