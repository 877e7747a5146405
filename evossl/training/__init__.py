"""The multi-task model, its training step, and the training loop."""
