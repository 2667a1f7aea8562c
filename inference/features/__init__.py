"""Where features come from: memory, or PostgreSQL behind a cache."""
