"""Events, ledger, accountant, planner and the mechanisms themselves."""
