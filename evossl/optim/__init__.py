"""Optimisers and the learning-rate schedule."""
