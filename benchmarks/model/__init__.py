"""What a workload and a result are: their models, and the files that hold them."""
