"""Architecture search on small image models that really train.

Each system is a search space, an objective over it and the search method its source describes; the
space and the objective serve any other method too. `registry.ARCHITECTURES` knows the systems by
name, and `search.run_search` runs one.
"""
