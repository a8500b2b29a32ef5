"""The maximum-entropy model of noisy marginals: a log-linear model fitted and sampled by Gibbs chains."""
