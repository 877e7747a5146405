"""From video files to batches of clips: index, decode, cache, load; synthetic videos."""
