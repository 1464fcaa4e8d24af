"""Search spaces, trials and studies; objectives; search methods; synthetic priors.

This folder imports nothing else of ours.
"""
