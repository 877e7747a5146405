"""Views: recipes that turn clips into the inputs of encoders, and the code that builds them."""
