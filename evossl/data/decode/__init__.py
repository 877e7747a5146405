"""Decoders of video files: their frames, behind one protocol, and their sound."""
