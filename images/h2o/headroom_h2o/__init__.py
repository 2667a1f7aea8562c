"""What keeps an H2O cluster together inside its pods: the guard beside each node, and the Jobs around a resize."""
