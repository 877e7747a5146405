"""What tests of views share."""

LEVEL = 5  # gray levels between a frame of a timed clip and the next
