"""From clips to the inputs that views describe."""
