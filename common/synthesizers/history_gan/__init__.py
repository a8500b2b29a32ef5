"""The GAN of whole histories: the model of visits, tilted by a discriminator of trajectories."""
