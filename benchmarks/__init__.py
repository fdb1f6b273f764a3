"""What otel-llm costs the application, against the bare SDK and beside its peers."""
