"""The command line of labs: what `make lab`, `make status` and the like do around Pulumi."""
