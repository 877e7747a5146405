"""Encoders, their momentum copies, and the heads that tasks add to them."""
