"""Studies of images that run by name: digits, which scikit-learn ships, and chest films, which a reader has."""
