"""Input and output: atomic writes, Parquet, YAML, remote files, a user's Python file."""
