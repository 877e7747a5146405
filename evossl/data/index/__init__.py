"""The index of a data set: every file found, and whether it can be read."""
