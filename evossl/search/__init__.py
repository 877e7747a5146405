"""Loss weights proposed and told: no tensor, no ray."""
