"""Alert rules that follow from a plan, and dashboards that are made once and shipped as files."""
