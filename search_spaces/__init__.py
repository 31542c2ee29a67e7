"""The shipped studies and configurations: YAML files found by their bare name, see README.md beside this."""
