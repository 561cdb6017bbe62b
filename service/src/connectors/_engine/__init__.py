"""One call, step by step, from an admitted request to the connector and back. Knows no wire format and no metric."""
