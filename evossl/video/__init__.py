"""From files to clips: index, decode, cache, synthetic videos."""
