"""The index of a data set: every file that was seen, and whether it can be read."""
