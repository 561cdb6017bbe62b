"""The OpenAI connectors: chat, embeddings and batches."""
