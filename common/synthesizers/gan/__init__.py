"""The GAN that is held to noisy marginals."""
