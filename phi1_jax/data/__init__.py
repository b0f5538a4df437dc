"""From raw documents to rows of tokens: curate, synthesize, decontaminate, tokenize, load."""
