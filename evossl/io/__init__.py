"""Files: atomic writes, Parquet, YAML, a user's Python file, readable validation errors."""
