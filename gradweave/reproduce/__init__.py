"""Published results of the field, set beside what this machine measures: one study a file."""
