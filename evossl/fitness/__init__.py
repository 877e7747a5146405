"""Label-free scores of features, the guards before them, and indicators beside them."""
