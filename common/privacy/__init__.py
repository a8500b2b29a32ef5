"""What releases cost, and the mechanisms that add noise: events, accountant, lifetime cap, DP-SGD."""
