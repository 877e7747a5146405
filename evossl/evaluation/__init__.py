"""How good an encoder is, measured with labels. No other package reads labels of videos."""
