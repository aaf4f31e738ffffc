"""Ways in and out of Elo: producers, the simulated shop, the demo."""
