"""What a run is: its folder, context, terms, trials, controls, verdict and winner."""
