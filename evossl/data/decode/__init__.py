"""Decoders behind one protocol: frames and sound of a video file."""
