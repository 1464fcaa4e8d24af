"""A learned evolution strategy: its network, the strategy, and how it was meta-trained.

As a search method it is registered by name in `optformer.data.methods`.
"""
