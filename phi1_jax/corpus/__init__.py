"""What a document is, and how documents are read, written and compared."""
