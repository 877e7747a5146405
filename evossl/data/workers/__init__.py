"""Worker processes with a deadline for each file."""
