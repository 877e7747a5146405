"""The multi-task step and the loop around it."""
