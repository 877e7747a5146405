"""What features are worth, with labels: the only code that reads them."""
