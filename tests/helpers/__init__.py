"""What several test files share; imported as `tests.helpers.<name>`."""
