"""What a lab measures: the command resources of its workloads."""
