"""What `StatelessService` is made of: what is known of each program, and the manifests that follow from it."""
