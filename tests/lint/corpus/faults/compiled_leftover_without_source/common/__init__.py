"""What several DAGs of billing share."""
