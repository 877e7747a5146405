"""Encoders, their momentum copies, and the heads that tasks put on them."""
