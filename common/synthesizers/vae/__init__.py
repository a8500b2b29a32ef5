"""The variational autoencoder that is held to noisy marginals."""
