"""The search over loss weights: samplers, and a study that is asked and told. No torch, no ray."""
