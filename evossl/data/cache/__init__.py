"""The clip cache: each node decodes a video once."""
