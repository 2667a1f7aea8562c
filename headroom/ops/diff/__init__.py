"""What an edit will do: two revisions of the project, planned and rendered each by its own code, and compared."""
