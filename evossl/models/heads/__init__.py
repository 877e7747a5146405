"""Components that tasks build their heads from."""
