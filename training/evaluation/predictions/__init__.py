"""Prediction benchmark: a model beside a Gaussian process on the prefixes of real histories."""
