"""The webhook connector: calls HTTP services that the operator allows."""
