"""Networks with stage taps, heads, momentum."""
