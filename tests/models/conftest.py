"""The fixtures of tests.helpers.small_encoders."""

from tests.helpers.small_encoders import draw, rgb, space

__all__ = ["draw", "rgb", "space"]
