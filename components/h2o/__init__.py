"""Parts of the H2O cluster's manifests."""
