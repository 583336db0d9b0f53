"""What a lab declares: Pulumi components for hosts, clusters and benchmarks."""
