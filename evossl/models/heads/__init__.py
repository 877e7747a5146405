"""Modules that tasks build their heads from."""
