"""Trials on Ray Tune. Only this package imports ray.

One rule runs through it: a trial's own failure is a result, which the study records; only
infrastructure faults raise, and the study never hears of them.
"""
