"""How good are features, without labels? Scores, guards, indicators."""
