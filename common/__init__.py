"""What hospitals and the coordinator must agree on: schema, study, messages, models, accounting, evaluation."""
