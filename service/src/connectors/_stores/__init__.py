"""Where idempotency records are kept. Holds no policy: what a record means is the engine's."""
