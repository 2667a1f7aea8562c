"""What runs beside PgBouncer: `pooler.warden`."""
