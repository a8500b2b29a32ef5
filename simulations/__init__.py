"""Many hospitals on one machine: data, partitions, an in-process Flower runtime and the `fedsynth` command."""
