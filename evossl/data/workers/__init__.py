"""Worker processes that read video files, with a deadline for each file."""
