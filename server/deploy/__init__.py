"""A coordinator's own machine: certificates, SuperLink, gateway, folders."""
