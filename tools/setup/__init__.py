"""Set-up: everything a lab needs, from package registries alone. Plain Python, for it runs before any environment is made."""
