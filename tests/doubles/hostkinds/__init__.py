"""A double of a host kind's module, as somebody would add one to ``components/hosts/``."""
