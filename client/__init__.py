"""The hospital's side: policy, ledger, training on the shard, and the relay that Flower starts."""
