"""Pure functions on tensors: one family of losses a file."""
