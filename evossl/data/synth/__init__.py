"""Synthetic videos with known factors, written as real H.264 and AAC files."""
