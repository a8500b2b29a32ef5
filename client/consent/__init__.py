"""What a hospital agrees to: its policy, approvals and what a person reads before saying yes."""
